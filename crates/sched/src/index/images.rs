/// Every name by which an image affinity finds an image: as told, without its tag, and its digest
/// alone. A registry's port is not a tag, and an image id is not a repository.
pub(crate) fn image_names(images: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::with_capacity(images.len() * 2);
    for image in images {
        names.push(image);
        if let Some((repository, digest)) = image.split_once('@') {
            names.push(repository);
            names.push(digest);
        } else if let Some((repository, tag)) = image.rsplit_once(':')
            && !tag.contains('/')
            && repository != "sha256"
        {
            names.push(repository);
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(image: &str, names: &[&str]) {
        assert_eq!(image_names(&[image.to_owned()]), names);
    }

    #[test]
    fn an_image_is_found_by_every_name_it_has() {
        check("redis:7", &["redis", "redis:7"]);
        check("redis", &["redis"]);
        check("host:5000/redis", &["host:5000/redis"]);
        check(
            "host:5000/redis:7",
            &["host:5000/redis", "host:5000/redis:7"],
        );
        check(
            "redis@sha256:0a",
            &["redis", "redis@sha256:0a", "sha256:0a"],
        );
        check("sha256:0a", &["sha256:0a"]);
    }
}
