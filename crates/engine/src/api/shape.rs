use serde_json::Value;

/// Two JSON objects as one; of equal keys the second's value stays.
pub(super) fn merged(base: Value, more: Value) -> Value {
    match (base, more) {
        (Value::Object(mut base), Value::Object(more)) => {
            base.extend(more);
            Value::Object(base)
        }
        (base, _) => base,
    }
}
