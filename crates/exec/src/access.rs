//! Who may get in, and where to.

mod authorized;
mod commands;
mod console;
mod control;
mod directory;
mod grants;
#[cfg(feature = "jwt")]
mod jwt;
mod lain;
mod origin;
mod place;
mod policy;
mod sign_on;

#[cfg(feature = "jwt")]
pub use jwt::{JwtAccess, JwtAlgorithm, JwtKeys, JwtRules};
pub use {
    authorized::ByIdentity,
    commands::OnlyCommands,
    console::LainConsole,
    control::{AccessControl, AccessRequest, Admission, AnybodyMay, Credentials, NobodyMay},
    directory::{Directory, Located, StaticDirectory},
    origin::{NameProven, OriginCheck},
    place::Place,
    policy::TokenPolicy,
    sign_on::{LainSignOn, SignOn, SignOnSite, SignedOn},
};
