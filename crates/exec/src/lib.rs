//! longshore-exec
