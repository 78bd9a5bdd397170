//! `HostConfig.DeviceRequests`: what `docker run --gpus` and Compose's reservations of devices ask
//! for, and how an engine is asked for those that were chosen.

use longshore_core::{
    ApiDeviceRequest, DeviceId, DeviceRequest, Expression, ExpressionError, printable,
};
use serde_json::Value;

use crate::{
    devices::{NAME, NO_VENDOR, VENDOR},
    endpoint::{call::exact_fields, error::ApiError},
};

/// The requests of a create, which an engine gets with the names of what was chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    requests: Vec<ApiDeviceRequest>,
    /// How many each is for; nothing for the one that is for all of a node.
    counts: Vec<Option<usize>>,
}

impl Devices {
    /// Reads the field; with what a scheduler is asked for.
    ///
    /// # Errors
    /// 400, saying which request is wrong and why.
    pub(super) fn read(field: Option<&Value>) -> Result<(Self, Vec<DeviceRequest>), ApiError> {
        let mut devices = Self::default();
        let mut wanted = Vec::new();
        let given = match field {
            None => return Ok((devices, wanted)),
            Some(Value::Array(given)) => given,
            Some(_) => {
                return Err(ApiError::bad_request(
                    "invalid DeviceRequests: expected a list",
                ));
            }
        };
        if given.len() > MOST_REQUESTS {
            return Err(ApiError::bad_request(format!(
                "invalid DeviceRequests: {} of them, at most {MOST_REQUESTS} are taken",
                given.len()
            )));
        }
        for (at, value) in given.iter().enumerate() {
            let request = read_one(value)
                .and_then(|request| Ok((wanted_of(&request)?, request)))
                .map_err(|reason| {
                    ApiError::bad_request(format!("invalid DeviceRequests[{at}]: {reason}"))
                });
            let (pieces, request) = request?;
            let all = pieces.iter().any(DeviceRequest::is_all);
            let count: u32 = pieces.iter().map(DeviceRequest::count).sum();
            devices.requests.push(request);
            devices.counts.push((!all).then_some(count as usize));
            wanted.extend(pieces);
        }
        if devices
            .counts
            .iter()
            .filter(|count| count.is_none())
            .count()
            > 1
        {
            return Err(ApiError::bad_request(
                "invalid DeviceRequests: only one of them can be for all devices",
            ));
        }
        Ok((devices, wanted))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The requests for these and no others, which were chosen in the order of what was
    /// [wanted](Self::read). Nothing if they are not as many.
    pub(super) fn naming(&self, chosen: &[DeviceId]) -> Option<Vec<ApiDeviceRequest>> {
        let counted: usize = self.counts.iter().flatten().sum();
        let rest = chosen.len().checked_sub(counted)?;
        let is_for_all = self.counts.contains(&None);
        if is_for_all != (rest > 0) {
            return None;
        }
        let mut chosen = chosen.iter();
        let requests = self.requests.iter().zip(&self.counts);
        let naming = requests.map(|(request, count)| {
            let mut request = request.clone();
            let names = chosen.by_ref().take(count.unwrap_or(rest));
            request.device_ids = names.map(|device| device.name.clone()).collect();
            // An engine takes either a number or names.
            request.count = 0;
            request
        });
        Some(naming.collect())
    }
}

fn read_one(value: &Value) -> Result<ApiDeviceRequest, String> {
    let Value::Object(fields) = value else {
        return Err("it is no object".to_owned());
    };
    // What an engine would read, and nothing else gets there.
    exact_fields(fields, &FIELDS).map_err(|error| error.message().to_owned())?;
    serde_json::from_value(value.clone()).map_err(|error| error.to_string())
}

/// What a scheduler is asked for, of the same number.
fn wanted_of(request: &ApiDeviceRequest) -> Result<Vec<DeviceRequest>, String> {
    let text = |error: longshore_core::Error| error.message().to_owned();
    if request.driver == "cdi" {
        return Err(
            "the driver cdi is not placed: name a kind of devices, as in \
                    Capabilities [[\"gpu\"]]"
                .to_owned(),
        );
    }
    let kind = request.kind().map_err(text)?;
    let demand = match request.driver.as_str() {
        "" => None,
        driver => Some(made_by(driver)?),
    };
    let demanding = |mut pieces: DeviceRequest, more: Option<Expression>| {
        for expression in demand.iter().cloned().chain(more) {
            pieces = pieces.with_demand(longshore_core::DeviceDemand::Attribute(expression));
        }
        pieces
    };
    if !request.device_ids.is_empty() {
        if request.count != 0 {
            // Docker's words.
            return Err("cannot set both Count and DeviceIDs on device request".to_owned());
        }
        // Before anything is made of them.
        if request.device_ids.len() > MOST_NAMED {
            let named = request.device_ids.len();
            return Err(format!(
                "it names {named} devices, {MOST_NAMED} are the most"
            ));
        }
        let mut named = request.named().map_err(text)?;
        let pieces = named.iter().map(|device| {
            let is_it = expression(&format!("{NAME}=={}", device.name))?;
            let one = DeviceRequest::new(1, &kind).map_err(text)?;
            Ok(demanding(one, Some(is_it)))
        });
        let pieces: Vec<DeviceRequest> = pieces.collect::<Result<_, String>>()?;
        named.sort_unstable();
        if let Some(pair) = named.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("it names {} twice", pair[0]));
        }
        return Ok(pieces);
    }
    let pieces = match request.count {
        -1 => DeviceRequest::all(&kind),
        0 => {
            return Err(format!(
                "it asks for no {kind}: expected a Count, -1 for all, or DeviceIDs"
            ));
        }
        count => match u32::try_from(count) {
            Ok(count) => DeviceRequest::new(count, &kind),
            Err(_) => return Err(format!("{count} {kind} can't be asked for")),
        },
    };
    Ok(vec![demanding(pieces.map_err(text)?, None)])
}

/// Devices of the driver's maker, and those of which nobody says who made them: their engine knows.
fn made_by(driver: &str) -> Result<Expression, String> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if driver.len() > 64 || !driver.bytes().all(is_word) {
        return Err(format!("{:?} is no driver's name", printable(driver, 80)));
    }
    let driver = driver.to_ascii_lowercase();
    expression(&format!("{VENDOR}==/^({driver}|{NO_VENDOR})$/"))
}

fn expression(text: &str) -> Result<Expression, String> {
    text.parse()
        .map_err(|error: ExpressionError| error.to_string())
}

const FIELDS: [&str; 5] = ["Driver", "Count", "DeviceIDs", "Capabilities", "Options"];
const MOST_REQUESTS: usize = 16;
const MOST_NAMED: usize = DeviceRequest::MAX_COUNT as usize;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn reads(requests: Value, wanted: &[&str]) -> Devices {
        let (devices, pieces) = Devices::read(Some(&requests)).unwrap();
        let pieces: Vec<String> = pieces.iter().map(ToString::to_string).collect();
        assert_eq!(pieces, wanted);
        devices
    }

    #[track_caller]
    fn refuse(requests: Value, reason: &str) {
        let error = Devices::read(Some(&requests)).unwrap_err();
        assert_eq!((error.status().as_u16(), error.message()), (400, reason));
    }

    fn chosen(names: &[&str]) -> Vec<DeviceId> {
        names
            .iter()
            .map(|name| DeviceId::new("gpu", *name))
            .collect()
    }

    #[test]
    fn what_docker_run_gpus_sends_is_read() {
        let of = |count: i64, ids: Value| {
            json!([{"Driver": "", "Count": count, "DeviceIDs": ids, "Capabilities": [["gpu"]],
                "Options": {}}])
        };
        let all = reads(of(-1, Value::Null), &["all gpu"]);
        let two = reads(of(2, Value::Null), &["2 gpu"]);
        let named = reads(
            of(0, json!(["GPU-2", "GPU-1"])),
            &["1 gpu where id==GPU-2", "1 gpu where id==GPU-1"],
        );
        for devices in [&all, &two, &named] {
            let asked = devices.naming(&chosen(&["GPU-2", "GPU-1"])).unwrap();
            assert_eq!(
                json!(asked),
                of(0, json!(["GPU-2", "GPU-1"])),
                "an engine is asked for names"
            );
        }
        assert_eq!(two.naming(&chosen(&["GPU-1"])), None);
        assert_eq!(two.naming(&chosen(&["1", "2", "3"])), None);
        assert_eq!(all.naming(&[]), None);
    }

    #[test]
    fn more_names_than_can_be_held_are_refused_before_anything_is_made_of_them() {
        let ids: Vec<String> = (0..100_000).map(|number| format!("GPU-{number}")).collect();
        let asked = json!([{"Count": 0, "DeviceIDs": ids, "Capabilities": [["gpu"]]}]);
        let error = Devices::read(Some(&asked)).unwrap_err();
        let reason = "it names 100000 devices, 32 are the most";
        assert!(error.message().contains(reason), "{}", error.message());
    }

    #[test]
    fn what_compose_sends_is_read_and_goes_on_as_it_came() {
        let sent = json!([
            {"Driver": "nvidia", "Count": 1, "Capabilities": [["gpu", "utility"]],
                "Options": {"virtualization": "false"}},
            {"Driver": "", "Count": -1, "Capabilities": [["tpu"]]},
        ]);
        let devices = reads(
            sent,
            &["1 gpu where vendor==/^(nvidia|unknown)$/", "all tpu"],
        );
        let devices = devices.naming(&[
            DeviceId::new("gpu", "GPU-1"),
            DeviceId::new("tpu", "0"),
            DeviceId::new("tpu", "1"),
        ]);
        let devices = json!(devices.unwrap());
        assert_eq!(devices[0]["Capabilities"], json!([["gpu", "utility"]]));
        assert_eq!(devices[0]["Options"], json!({"virtualization": "false"}));
        assert_eq!(devices[0]["DeviceIDs"], json!(["GPU-1"]));
        assert_eq!(devices[1]["DeviceIDs"], json!(["0", "1"]));
    }

    #[test]
    fn what_is_no_request_is_named() {
        let gpu = json!([["gpu"]]);
        refuse(json!({}), "invalid DeviceRequests: expected a list");
        refuse(json!([1]), "invalid DeviceRequests[0]: it is no object");
        refuse(
            json!([{"Count": 1}]),
            "invalid DeviceRequests[0]: a device request names no capability: expected one such \
             as gpu",
        );
        refuse(
            json!([{"Count": 1, "Capabilities": gpu, "deviceids": ["0"]}]),
            "invalid DeviceRequests[0]: invalid JSON: the field \"deviceids\" is to be written \
             \"DeviceIDs\"",
        );
        refuse(
            json!([{"Count": 1, "DeviceIDs": ["0"], "Capabilities": gpu}]),
            "invalid DeviceRequests[0]: cannot set both Count and DeviceIDs on device request",
        );
        refuse(
            json!([{"DeviceIDs": ["0", "1", "0"], "Capabilities": gpu}]),
            "invalid DeviceRequests[0]: it names gpu 0 twice",
        );
        refuse(
            json!([{"Capabilities": gpu}]),
            "invalid DeviceRequests[0]: it asks for no gpu: expected a Count, -1 for all, or \
             DeviceIDs",
        );
        refuse(
            json!([{"Count": -2, "Capabilities": gpu}]),
            "invalid DeviceRequests[0]: -2 gpu can't be asked for",
        );
        refuse(
            json!([{"Count": 33, "Capabilities": gpu}]),
            "invalid DeviceRequests[0]: 33 gpu asked for: expected 1 to 32",
        );
        refuse(
            json!([{"Count": -1, "Capabilities": gpu}, {"Count": -1, "Capabilities": gpu}]),
            "invalid DeviceRequests: only one of them can be for all devices",
        );
        refuse(
            json!([{"Count": 1, "Driver": "a b", "Capabilities": gpu}]),
            "invalid DeviceRequests[0]: \"a b\" is no driver's name",
        );
        for id in ["*", "/x/", "~0", "a==b"] {
            let request = json!([{"DeviceIDs": [id], "Capabilities": gpu}]);
            assert!(Devices::read(Some(&request)).is_err(), "{id}");
        }
        let many: Value = (0..17)
            .map(|_| json!({"Count": 1, "Capabilities": gpu}))
            .collect();
        assert!(Devices::read(Some(&many)).is_err());
    }
}
