//! longshore-control
