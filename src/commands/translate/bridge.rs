//! The translator that a bridge of the file describes, with what the command line adds.

use std::net::Ipv6Addr;

use straddle_intent::model::{Address6, Clat, Model, Prefix64, Siit};
use straddle_xlat::Config;
use straddle_xlat::rfc6052::Prefix;

use crate::cli::Translate;

/// What is wrong with the command line, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) message: String,
    pub(super) help: String,
}

/// What the bridge's translator is told. No host is asked: the file may be for others.
pub(super) fn config(model: &Model, question: &Translate) -> Result<Config, Mistake> {
    let mut config = match named(model, question.bridge.as_deref())? {
        Bridge::Siit(siit) => of_siit(siit, question)?,
        Bridge::Clat(clat) => of_clat(clat, question)?,
    };
    config.mtu4 = question.mtu4.unwrap_or(config.mtu4);
    config.mtu6 = question.mtu6.unwrap_or(config.mtu6);
    Ok(config)
}

enum Bridge<'a> {
    Siit(&'a Siit),
    Clat(&'a Clat),
}

impl Bridge<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Siit(siit) => &siit.name,
            Self::Clat(clat) => &clat.name,
        }
    }
}

fn named<'a>(model: &'a Model, name: Option<&str>) -> Result<Bridge<'a>, Mistake> {
    let siits = model.siits.iter().map(Bridge::Siit);
    let all: Vec<Bridge<'a>> = siits.chain(model.clats.iter().map(Bridge::Clat)).collect();
    let names: Vec<String> = all.iter().map(|bridge| bridge.name().to_string()).collect();
    let help = match names.as_slice() {
        [] => "describe one as [[siit]] or [[clat]]".into(),
        [only] => format!("write --bridge {only}, or leave it out"),
        several => format!("write --bridge NAME, one of {}", several.join(", ")),
    };
    let Some(name) = name else {
        let count = all.len();
        let mut all = all.into_iter();
        return match (all.next(), count) {
            (Some(only), 1) => Ok(only),
            (Some(_) | None, 0) => Err(Mistake { message: "the file has no translator".into(), help }),
            (Some(_) | None, _) => {
                Err(Mistake { message: format!("the file has {count} translators"), help })
            }
        };
    };
    let found = all.into_iter().find(|bridge| bridge.name() == name);
    found.ok_or_else(|| {
        let message = if model.bridges().any(|bridge| bridge == name) {
            format!("`{name}` is a carrier, which hands packets on as they are")
        } else {
            format!("the file has no bridge `{name}`")
        };
        Mistake { message, help }
    })
}

fn of_siit(siit: &Siit, question: &Translate) -> Result<Config, Mistake> {
    let clats = [("--address6", question.address6.is_some()), ("--prefix64", question.prefix64.is_some())];
    if let Some((option, _)) = clats.iter().find(|(_, given)| *given) {
        return Err(Mistake {
            message: format!("{option} is for a clat, and `{}` is a siit", siit.name),
            help: "leave it out, or name a clat with --bridge".into(),
        });
    }
    Ok(siit.config(question.mtu4.unwrap_or(MTU), question.mtu6.unwrap_or(MTU)))
}

fn of_clat(clat: &Clat, question: &Translate) -> Result<Config, Mistake> {
    let prefix = match (question.prefix64, clat.prefix64) {
        (Some(prefix), _) | (None, Prefix64::Given(prefix)) => prefix,
        (None, Prefix64::Discover) => {
            return Err(Mistake {
                message: format!("the file leaves it to the network which prefix64 `{}` has", clat.name),
                help: "write one: --prefix64 64:ff9b::/96, or what `straddle addr prefix` tells".into(),
            });
        }
    };
    let address = match (question.address6, clat.address6) {
        (Some(address), _) | (None, Address6::Given(address)) => address,
        (None, Address6::Within(net)) => {
            return Err(no_address(
                clat,
                &format!("write one of {net}, such as --address6 {}", within(net.addr())),
            ));
        }
        (None, Address6::Auto) => {
            return Err(no_address(clat, "write one of the host's network: --address6 ADDRESS"));
        }
    };
    apart(prefix, address)?;
    // The MTU given counts before the file's; that of the IPv4 side follows it.
    let mut clat = clat.clone();
    clat.mtu6 = question.mtu6.or(clat.mtu6);
    Ok(clat.config(address, vec![prefix], MTU))
}

fn no_address(clat: &Clat, help: &str) -> Mistake {
    let message = format!("the file leaves it to the host which address6 `{}` has", clat.name);
    Mistake { message, help: help.into() }
}

/// As the file itself must not say it.
fn apart(prefix: Prefix, address: Ipv6Addr) -> Result<(), Mistake> {
    if prefix.contains(address) {
        return Err(Mistake {
            message: format!("the address6 `{address}` stands inside the prefix64 `{prefix}`"),
            help: "write an address of the host's own network".into(),
        });
    }
    Ok(())
}

fn within(network: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(network.to_bits() | 0x464)
}

/// Where nothing says another, in bytes.
const MTU: u16 = 1500;

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use straddle_intent::model;

    use super::*;
    use crate::cli::{Cli, Command};

    const HOSTS: &str = "[host.gate]\nuplink = \"eth0\"\nipv6 = \"2001:db8:eec0::2\"\n[host.vm]\nuplink = \"eth0\"\n\
        [host.old]\nuplink = \"eth0\"\nipv4 = \"192.0.2.158/24\"\ngateway4 = \"192.0.2.1\"\nipv6 = \"2001:db8:a::2\"\n";
    const SIIT: &str = "[[siit]]\nname = \"net\"\nhost = \"gate\"\npool6 = \"64:ff9b::/96\"\n";
    const CLAT: &str = "[[clat]]\nname = \"roam\"\nhost = \"vm\"\n";
    const GIVEN: &str = "prefix64 = \"2001:db8:64::/96\"\naddress6 = \"2001:db8:7::464\"\n";
    const BORROW: &str =
        "[[borrow]]\nname = \"lent\"\naddress = \"192.0.2.158\"\nfrom = \"old\"\nto = \"gate\"\n";

    fn asked(file: &str, options: &str) -> Result<Config, Mistake> {
        let model = model::read(&format!("{HOSTS}{file}")).unwrap();
        let words = ["straddle", "translate", "in.pcap"].into_iter().chain(options.split_whitespace());
        let Command::Translate(question) = Cli::try_parse_from(words).unwrap().command else {
            panic!("another command");
        };
        config(&model, &question)
    }

    /// MTUs of the IPv4 and the IPv6 side.
    fn check(file: &str, options: &str, expected: (u16, u16)) {
        let config = asked(file, options).unwrap();
        assert_eq!((config.mtu4, config.mtu6), expected, "{options}");
    }

    #[test]
    fn mtus() {
        check(SIIT, "", (1500, 1500));
        check(SIIT, "--bridge net --mtu4 1400 --mtu6 1480", (1400, 1480));
        check(&format!("{SIIT}mtu4 = 1300\nmtu6 = 1400"), "", (1300, 1400));
        check(&format!("{SIIT}mtu4 = 1300\nmtu6 = 1400"), "--mtu6 9000", (1300, 9000));
        let clat = format!("{CLAT}{GIVEN}");
        check(&clat, "", (1480, 1500));
        check(&clat, "--mtu6 1400", (1380, 1400));
        check(&clat, "--mtu4 1300", (1300, 1500));
        check(&format!("{clat}mtu6 = 1420"), "", (1400, 1420));
        check(&format!("{clat}mtu6 = 1420"), "--mtu6 1460", (1440, 1460));
    }

    #[test]
    fn which_bridge() {
        let both = format!("{SIIT}{CLAT}{GIVEN}{BORROW}");
        assert_eq!(asked(&both, "--bridge net").unwrap().pool6, [Prefix::WELL_KNOWN]);
        assert_eq!(asked(&both, "--bridge roam").unwrap().pool6[0].to_string(), "2001:db8:64::/96");
        check(&format!("{BORROW}{SIIT}"), "", (1500, 1500));
        let other = asked(&both, "--bridge roam --prefix64 64:ff9b::/96").unwrap();
        assert_eq!(other.pool6, [Prefix::WELL_KNOWN]);
        let own = asked(CLAT, "--prefix64 64:ff9b::/96 --address6 2001:db8::9").unwrap();
        assert_eq!(own.eam.to6([192, 0, 0, 2].into()), Some("2001:db8::9".parse().unwrap()));
    }

    fn check_mistake(file: &str, options: &str, message: &str, help: &str) {
        let expected = Mistake { message: message.into(), help: help.into() };
        assert_eq!(asked(file, options).map(|_| ()), Err(expected), "{options}");
    }

    #[test]
    fn mistakes() {
        let both = format!("{SIIT}{CLAT}{GIVEN}{BORROW}");
        check_mistake(BORROW, "", "the file has no translator", "describe one as [[siit]] or [[clat]]");
        let several = "write --bridge NAME, one of net, roam";
        check_mistake(&both, "", "the file has 2 translators", several);
        check_mistake(&both, "--bridge x", "the file has no bridge `x`", several);
        let carrier = "`lent` is a carrier, which hands packets on as they are";
        check_mistake(&both, "--bridge lent", carrier, several);
        let only = "write --bridge net, or leave it out";
        check_mistake(SIIT, "--bridge x", "the file has no bridge `x`", only);
        check_mistake(
            SIIT,
            "--address6 2001:db8::1",
            "--address6 is for a clat, and `net` is a siit",
            "leave it out, or name a clat with --bridge",
        );
        check_mistake(
            CLAT,
            "--address6 2001:db8::9",
            "the file leaves it to the network which prefix64 `roam` has",
            "write one: --prefix64 64:ff9b::/96, or what `straddle addr prefix` tells",
        );
        let no_address = "the file leaves it to the host which address6 `roam` has";
        let prefix = "--prefix64 64:ff9b::/96";
        check_mistake(CLAT, prefix, no_address, "write one of the host's network: --address6 ADDRESS");
        check_mistake(
            &format!("{CLAT}prefix6 = \"2001:db8:7::/64\""),
            prefix,
            no_address,
            "write one of 2001:db8:7::/64, such as --address6 2001:db8:7::464",
        );
        check_mistake(
            CLAT,
            "--prefix64 64:ff9b::/96 --address6 64:ff9b::1",
            "the address6 `64:ff9b::1` stands inside the prefix64 `64:ff9b::/96`",
            "write an address of the host's own network",
        );
    }
}
