use longshore_core::{Engine, Error, ErrorKind, ListFilter, Result, Workload, WorkloadId};

/// Finds a workload by its id, its name (with or without a slash), or a prefix of its id that no
/// other one has, and tells all about it.
pub(super) async fn workload(engine: &dyn Engine, name: &str) -> Result<Workload> {
    if let Ok(id) = WorkloadId::new(name) {
        match engine.inspect(&id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // An engine that takes prefixes itself may have found another one's name.
            Ok(found) if found.id != id => {}
            other => return other,
        }
    }
    let listed = engine.list(&ListFilter::all()).await?;
    let id = resolve(&listed, name)?;
    engine.inspect(&id).await
}

/// As [`workload`], among those listed.
pub(super) fn resolve(listed: &[Workload], name: &str) -> Result<WorkloadId> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    if let Some(found) = listed.iter().find(|workload| workload.id.as_str() == bare) {
        return Ok(found.id.clone());
    }
    let named = |workload: &&Workload| workload.names.iter().any(|own| own == bare);
    if let Some(found) = listed.iter().find(named) {
        return Ok(found.id.clone());
    }
    let mut by_prefix = listed
        .iter()
        .filter(|workload| !bare.is_empty() && workload.id.as_str().starts_with(bare));
    match (by_prefix.next(), by_prefix.next()) {
        (Some(found), None) => Ok(found.id.clone()),
        (Some(first), Some(second)) => Err(Error::new(
            ErrorKind::Ambiguous,
            format!(
                "Multiple containers found with the id prefix {bare}: {}, {}{}",
                first.id,
                second.id,
                if by_prefix.next().is_some() {
                    ", …"
                } else {
                    ""
                }
            ),
        )),
        (None, _) => Err(Error::not_found(format!("No such container: {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Vec<Workload> {
        [("abc1", "web"), ("abc2", "abc1x"), ("def0", "db")]
            .map(|(id, name)| {
                let mut workload = Workload::new(WorkloadId::new(id).unwrap());
                workload.names = vec![name.to_owned()];
                workload
            })
            .to_vec()
    }

    #[test]
    fn ids_names_and_prefixes_find() {
        for (name, id) in [
            ("abc1", "abc1"),
            ("web", "abc1"),
            ("/db", "def0"),
            ("d", "def0"),
        ] {
            assert_eq!(resolve(&listed(), name).unwrap().as_str(), id);
        }
    }

    #[test]
    fn unknown_and_ambiguous_are_told_apart() {
        let kind = |name| resolve(&listed(), name).unwrap_err().kind();
        assert_eq!(kind("nope"), ErrorKind::NotFound);
        assert_eq!(kind(""), ErrorKind::NotFound);
        assert_eq!(kind("abc"), ErrorKind::Ambiguous);
    }
}
