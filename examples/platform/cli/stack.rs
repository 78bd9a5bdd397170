use std::path::PathBuf;

use clap::Subcommand;

use super::{HostArg, examples::STACK_EXAMPLES};

#[derive(Debug, Subcommand)]
#[command(after_help = STACK_EXAMPLES)]
pub enum Stack {
    /// Desire the stack that a file describes; one of the same name is changed to it.
    Deploy {
        #[command(flatten)]
        host: HostArg,
        /// The stack as JSON: `name` and `services`; `-` reads the standard input.
        file: PathBuf,
    },
    /// List stacks, their services, and what these wait for.
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        host: HostArg,
        /// Print the stacks as JSON, with every instance.
        #[arg(long)]
        json: bool,
    },
    /// Desire that nothing of a stack is there; its volumes stay.
    #[command(visible_alias = "remove")]
    Rm {
        #[command(flatten)]
        host: HostArg,
        name: String,
    },
}
