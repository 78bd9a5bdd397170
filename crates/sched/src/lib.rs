//! longshore-sched
