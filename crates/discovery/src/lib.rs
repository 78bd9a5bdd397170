//! longshore-discovery
