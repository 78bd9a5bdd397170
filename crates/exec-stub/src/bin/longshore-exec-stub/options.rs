use std::ffi::OsString;

/// What a session is to be.
#[derive(Debug)]
pub(crate) struct Options {
    /// Columns and rows of a terminal.
    pub(crate) terminal: Option<(u16, u16)>,
    pub(crate) input: bool,
    /// Whom the command runs as, if not as the stub itself.
    pub(crate) user: Option<String>,
    /// What is in the background when the session ends goes on.
    pub(crate) keep: bool,
    /// Never empty.
    pub(crate) command: Vec<OsString>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self {
            terminal: None,
            input: true,
            user: None,
            keep: false,
            command: Vec::new(),
        };
        loop {
            let flag = arguments.next().ok_or("no command: expected -- COMMAND…")?;
            match flag.to_str() {
                Some("--") => break,
                Some("--no-input") => options.input = false,
                Some("--keep") => options.keep = true,
                Some("--tty") => options.terminal = Some(size(arguments.next())?),
                Some("--user") => {
                    let user = arguments.next().and_then(|user| user.into_string().ok());
                    options.user = Some(user.ok_or("--user expects a name or number")?);
                }
                _ => return Err(format!("unknown option {}", flag.display())),
            }
        }
        options.command.extend(arguments);
        if options.command.is_empty() {
            return Err("the command is empty".to_owned());
        }
        Ok(options)
    }
}

fn size(text: Option<OsString>) -> Result<(u16, u16), String> {
    let text = text.and_then(|text| text.into_string().ok());
    let (columns, rows) = text
        .as_deref()
        .and_then(|text| text.split_once('x'))
        .ok_or("--tty expects COLUMNSxROWS")?;
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no size"));
    Ok((number(columns)?, number(rows)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, String> {
        Options::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_are_read_up_to_the_command() {
        let words = "--tty 80x24 --user 1000 --keep -- sh --tty";
        let options = parse(&words.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(options.terminal, Some((80, 24)));
        assert_eq!(options.user.as_deref(), Some("1000"));
        assert!(options.keep && options.input);
        assert_eq!(options.command, ["sh", "--tty"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(parse(&["--no-input"]).unwrap_err().contains("no command"));
        assert!(parse(&["--"]).unwrap_err().contains("empty"));
        assert!(
            parse(&["--tty", "80"])
                .unwrap_err()
                .contains("COLUMNSxROWS")
        );
        assert!(parse(&["--wat"]).unwrap_err().contains("--wat"));
    }
}
