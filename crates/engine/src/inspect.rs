//! Docker's JSON of a container.
