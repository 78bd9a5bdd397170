//! longshore-net
