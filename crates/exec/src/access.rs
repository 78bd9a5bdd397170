//! Who may get in, and where to.

mod control;
mod directory;
mod origin;
mod place;

pub use {
    control::{AccessControl, AccessRequest, Admission, AnybodyMay, Credentials, NobodyMay},
    directory::{Directory, Located, StaticDirectory},
    origin::OriginCheck,
    place::Place,
};
