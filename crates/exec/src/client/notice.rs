use longshore_core::printable;

/// Something that a gateway says to the person at a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// A stable word, such as `input-blocked` or `signal-failed`; see
    /// [`session::Notice`](crate::session::Notice). Others may come.
    pub code: String,
    /// A sentence. Neither has anything in it that a terminal would act on.
    pub text: String,
}

impl Notice {
    pub(super) fn new(code: &str, text: &str) -> Self {
        Self {
            code: printable(code, 64).into_owned(),
            text: printable(text, 300).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_does_not_steer_the_terminal() {
        let notice = Notice::new("a\x1b[2J", &"b\r\x07".repeat(1000));
        let whole = format!("{}{}", notice.code, notice.text);
        assert!(
            !whole.contains(char::is_control) && whole.len() < 400,
            "{whole}"
        );
    }
}
