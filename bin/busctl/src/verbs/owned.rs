//! Whose bus it is to be: `--owner` of the verbs that attach or listen.

use crate::context::Context;
use crate::exit::Failure;
use crate::open::open;
use busd::api::UserName;
use busway::Bus;
use clap::Args;

/// The flag.
#[derive(Debug, Args)]
pub struct OwnerArg {
    /// Use the bus only if it belongs to this user, by name or number; trust it then
    #[arg(long, value_name = "USER")]
    owner: Option<UserName>,
}

impl OwnerArg {
    /// Opens the bus, as long as it is that user's: a named one then. A brokered one is the daemon's.
    pub fn open(&self, context: &Context, name: &str) -> Result<Bus, Failure> {
        match &self.owner {
            None => open(context, name),
            Some(user) => {
                let uid = user.resolve().map_err(|error| Failure::usage(error.to_string()))?;
                Ok(Bus::open_owned_by(name, uid)?)
            }
        }
    }
}
