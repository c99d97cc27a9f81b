//! `corten network connect` and `disconnect`

use super::super::args::Shape;
use super::super::{Context, Failure, Outcome, parse};
use crate::resolve;
use clap::Args;

const CONNECT: Shape = Shape {
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Connect a container to a further network; one that runs is plugged in at once",
    words: (2, 2),
};
const DISCONNECT: Shape =
    Shape { usage: "[OPTIONS] NETWORK CONTAINER", about: "Take a container out of a network", words: (2, 2) };

#[derive(Debug, Args)]
struct ConnectArgs {
    /// Another name of the container in the network
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// Refused: links have no options
    #[arg(long, value_name = "NAME=VALUE", hide = true)]
    driver_opt: Vec<String>,
    /// The way out is by the network with the greatest
    #[arg(long, value_name = "NUMBER")]
    gw_priority: Option<i32>,
    /// Its IPv4 address there
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// Its IPv6 address there
    #[arg(long, value_name = "IP")]
    ip6: Option<String>,
    /// Give another container a name here (container:name)
    #[arg(long, value_name = "CONTAINER:NAME")]
    link: Vec<String>,
    /// Its hardware address there
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

#[derive(Debug, Args)]
struct DisconnectArgs {
    /// Accepted for old scripts: nothing is in the way
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn connect(context: &Context, words: Vec<String>) -> Outcome {
    let args: ConnectArgs = match parse(context, &CONNECT, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    if !args.driver_opt.is_empty() {
        return Err(Failure::new("--driver-opt is not supported: links have no options"));
    }
    let wish = resolve::Connection {
        network: &args.words[0],
        ip: args.ip.as_deref(),
        ip6: args.ip6.as_deref(),
        mac: args.mac_address.as_deref(),
        aliases: &args.alias,
        links: &args.link,
    };
    let mut wish = wish.wish().map_err(Failure::flag)?;
    wish.priority = args.gw_priority.unwrap_or(0);
    let engine = context.engine()?;
    let container = engine.find(&args.words[1])?;
    let acts = || Ok(engine.connect_by_hand(&container, wish.clone())?);
    if let Some(outcome) = args.explain.instead(&title(context, &args.words), acts) {
        return outcome;
    }
    engine.connect(&container, wish)?;
    Ok(0)
}

pub fn disconnect(context: &Context, words: Vec<String>) -> Outcome {
    let args: DisconnectArgs = match parse(context, &DISCONNECT, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let acts = || Ok(engine.disconnect_by_hand(&engine.find(&args.words[1])?, &args.words[0])?);
    if let Some(outcome) = args.explain.instead(&title(context, &args.words), acts) {
        return outcome;
    }
    engine.disconnect(&engine.find(&args.words[1])?, &args.words[0])?;
    Ok(0)
}

fn title(context: &Context, words: &[String]) -> String {
    format!("corten {} {}", context.command, words.join(" "))
}
