//! longshore-tunnel
