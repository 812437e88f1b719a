//! Which sources a host sees, through which environment, and why one that is attached is not visible. Pure.
