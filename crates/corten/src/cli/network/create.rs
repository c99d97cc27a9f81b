//! `corten network create`

use super::super::args::{Shape, go_bool};
use super::super::{Context, Failure, Outcome, parse, print};
use clap::Args;
use engine::NetworkSettings;
use network::{Driver, Subnet};
use std::collections::BTreeMap;
use std::net::IpAddr;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] NETWORK",
    about: "Create a network, and print its id.\nOptions (-o) of bridge networks: mtu, bridge.name, enable_icc, enable_ip_masquerade, isolate, host_binding_ipv4; of macvlan networks: parent, mode, mtu.",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct CreateArgs {
    /// Accepted for old scripts: everybody who may use the engine may connect containers
    #[arg(long)]
    attachable: bool,
    /// An address that no container gets (name=ip)
    #[arg(long, value_name = "NAME=IP")]
    aux_address: Vec<String>,
    /// Refused: networks are not made of others
    #[arg(long, value_name = "NETWORK", hide = true)]
    config_from: Option<String>,
    /// bridge or macvlan
    #[arg(short, long, value_name = "DRIVER")]
    driver: Option<String>,
    /// The host's address in a subnet; with macvlan, the router's
    #[arg(long, value_name = "IP")]
    gateway: Vec<String>,
    /// No way out and none in
    #[arg(long)]
    internal: bool,
    /// The part of a subnet that containers get addresses out of
    #[arg(long, value_name = "SUBNET")]
    ip_range: Vec<String>,
    /// Only 'default' is known
    #[arg(long, value_name = "DRIVER", hide = true)]
    ipam_driver: Option<String>,
    /// IPv4 addresses [true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    ipv4: Option<bool>,
    /// IPv6 addresses, too
    #[arg(long)]
    ipv6: bool,
    /// Give it a label (key=value)
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Set an option of the driver
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// Only 'local' is known
    #[arg(long, value_name = "SCOPE", hide = true)]
    scope: Option<String>,
    /// A subnet (10.5.0.0/24, fd00:5::/64); a free one is found where none is given
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: CreateArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let mut settings = settings(&args).map_err(Failure::new)?;
    settings.pools = context.config.pools();
    context.config.fill_network(settings.driver.name(), &mut settings.options);
    let engine = context.engine()?;
    let title = format!("corten network create {}", settings.name);
    if let Some(outcome) = args.explain.instead(&title, || Ok(engine.create_network_by_hand(&settings)?)) {
        return outcome;
    }
    let network = engine.create_network(&settings)?;
    print(&format!("{}\n", network.id))?;
    Ok(0)
}

fn settings(args: &CreateArgs) -> Result<NetworkSettings, String> {
    let driver = match args.driver.as_deref().unwrap_or("bridge") {
        "bridge" => Driver::Bridge,
        "macvlan" => Driver::Macvlan,
        one @ ("host" | "none" | "null") => {
            return Err(format!("only one instance of \"{one}\" network is allowed"));
        }
        other => return Err(format!("network driver '{other}' is not supported: use bridge or macvlan")),
    };
    for (flag, value, one) in
        [("--ipam-driver", &args.ipam_driver, "default"), ("--scope", &args.scope, "local")]
    {
        if let Some(value) = value.as_deref().filter(|value| *value != one) {
            return Err(format!("{flag} {value} is not supported: only '{one}' is"));
        }
    }
    if args.config_from.is_some() {
        return Err("--config-from is not supported".to_owned());
    }
    let subnets = subnets(&args.subnet)?;
    let has_ipv6 = args.ipv6 || subnets.iter().any(|subnet| !subnet.is_ipv4());
    let has_ipv4 =
        args.ipv4.unwrap_or(subnets.is_empty() || subnets.iter().any(|s| s.is_ipv4()) || args.ipv6);
    if !has_ipv4 && !has_ipv6 {
        return Err("IPv4 or IPv6 must be enabled".to_owned());
    }
    if args.ipv4 == Some(false) && subnets.iter().any(|subnet| subnet.is_ipv4()) {
        return Err("conflicting options: --ipv4=false and a subnet of IPv4".to_owned());
    }
    let address =
        |text: &String| text.parse::<IpAddr>().map_err(|_| format!("invalid gateway address: {text}"));
    Ok(NetworkSettings {
        name: args.words[0].clone(),
        driver,
        gateways: args.gateway.iter().map(address).collect::<Result<_, _>>()?,
        ranges: args.ip_range.iter().map(|text| range(text)).collect::<Result<_, _>>()?,
        reserved: reserved(&args.aux_address)?,
        ipv4: has_ipv4,
        ipv6: has_ipv6,
        internal: args.internal,
        attachable: args.attachable,
        options: pairs(&args.opt),
        labels: pairs(&args.label),
        subnets,
        ..NetworkSettings::default()
    })
}

fn subnets(words: &[String]) -> Result<Vec<Subnet>, String> {
    words.iter().flat_map(|word| word.split(',')).map(str::parse).collect()
}

/// A range may be told by any of its addresses, as in Docker.
fn range(text: &str) -> Result<Subnet, String> {
    let invalid = || format!("invalid ip-range: {text}");
    let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
    let address: IpAddr = address.parse().map_err(|_| invalid())?;
    let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
    let around = Subnet::around(address, prefix);
    if around.prefix == prefix { Ok(around) } else { Err(invalid()) }
}

fn reserved(words: &[String]) -> Result<BTreeMap<String, IpAddr>, String> {
    let one = |word: &String| {
        let (name, address) = word.split_once('=').ok_or_else(|| format!("invalid aux-address: {word}"))?;
        let address = address.parse().map_err(|_| format!("invalid aux-address: {word}"))?;
        Ok((name.to_owned(), address))
    };
    words.iter().map(one).collect()
}

fn pairs(words: &[String]) -> BTreeMap<String, String> {
    let pair = |word: &String| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (key.to_owned(), value.to_owned())
    };
    words.iter().map(pair).collect()
}
