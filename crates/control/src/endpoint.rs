// The Docker-compatible endpoint: see its own commits.
