//! What a running straddle must know to vouch for packets that go past a device of ours.

use std::net::Ipv4Addr;

use crate::object::{Chain, FastPath, FilterRule, Match, Object, Task, Verdict, Wanted};

use super::{Plan, Via, borrow};

impl Plan {
    /// How many chains of ours stand at the forward hook, where no packet that this program sends past a device of ours
    /// needs to meet their rules. None where one does.
    #[must_use]
    pub fn chains_passed(&self, program: &FastPath) -> Option<u32> {
        let rules: Vec<&FilterRule> = self.forward().collect();
        let passed = match program.task.as_deref()? {
            Task::Direct(_) => rules.iter().all(|rule| self.translates(rule) || clamps(rule)),
            Task::Lend(_, address) => lets_pass(&rules, program, *address),
            Task::Translate(_) | Task::Encapsulate(_) | Task::Decapsulate(_) => false,
        };
        passed.then_some(u32::from(!rules.is_empty()))
    }

    /// The programs that send packets past a device of ours.
    pub fn direct(&self) -> impl Iterator<Item = &FastPath> {
        self.wanted.iter().filter_map(|wanted| {
            let Wanted::Object(Object::FastPath(program)) = wanted else { return None };
            let past = matches!(program.task.as_deref(), Some(Task::Direct(_) | Task::Lend(..)));
            past.then_some(program)
        })
    }

    /// The rules at the forward hook, in order.
    fn forward(&self) -> impl Iterator<Item = &FilterRule> {
        let filters = self.wanted.iter().filter_map(|wanted| {
            let Wanted::Object(Object::Filter(filter)) = wanted else { return None };
            Some(filter)
        });
        filters.flat_map(|filter| &filter.rules).filter(|rule| rule.chain == Chain::Forward)
    }

    /// A translator's rules ask for nothing that its program does not ask for.
    fn translates(&self, rule: &FilterRule) -> bool {
        let bridge = self.bridges.iter().find(|bridge| bridge.name == rule.bridge);
        bridge.is_some_and(|bridge| matches!(bridge.via, Via::Translator(_)))
    }
}

/// A connection's first packet takes the way through the device.
fn clamps(rule: &FilterRule) -> bool {
    matches!(rule.verdict, Verdict::ClampMss(_)) && rule.matches.contains(&Match::TcpSyn)
}

/// Whether rules let a lender's packets pass, either way, and none before those does anything else. Whatever drops stands
/// behind them.
fn lets_pass(rules: &[&FilterRule], program: &FastPath, address: Ipv4Addr) -> bool {
    let mut ways = borrow::lent(program.serves(), &program.dev, address).to_vec();
    for rule in rules {
        let accepts = rule.verdict == Verdict::Accept;
        ways.retain(|way| !(accepts && *way == rule.matches));
        if ways.is_empty() {
            return true;
        }
        if !accepts && !clamps(rule) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use straddle_xlat::Config;

    use crate::object::{Ends, Filter, Hook};
    use crate::plan::{Bridge, Facts, Offers, Routes, plan};

    use super::*;

    fn told(rules: Vec<FilterRule>) -> Plan {
        let bridge =
            |name: &str, via: Via| Bridge { name: name.into(), recipe: "", part: String::new(), via };
        let translator = Via::Translator(Box::default());
        let bridges = vec![bridge("dc", translator), bridge("other", Via::Routes(Routes::default()))];
        Plan { bridges, wanted: vec![Wanted::Object(Object::Filter(Filter { rules }))], ..Plan::default() }
    }

    #[test]
    fn rules_of_others_are_not_passed_by() {
        let rule = |(bridge, chain, verdict): &(&str, Chain, Verdict)| FilterRule {
            bridge: (*bridge).into(),
            chain: *chain,
            matches: vec![Match::TcpSyn],
            verdict: *verdict,
        };
        let program = FastPath::direct("eth0", Hook::Tcx("st-dc".into()), &Config::default());
        let check = |rules: &[_], expected| {
            let plan = told(rules.iter().map(rule).collect());
            assert_eq!(plan.chains_passed(&program), expected, "{rules:?}");
        };
        check(&[], Some(0));
        check(&[("dc", Chain::Forward, Verdict::Drop)], Some(1));
        check(&[("dc", Chain::Forward, Verdict::Drop), ("other", Chain::Output, Verdict::Drop)], Some(1));
        check(&[("dc", Chain::Forward, Verdict::Drop), ("other", Chain::Forward, Verdict::Drop)], None);
        check(&[("other", Chain::Forward, Verdict::ClampMss(1220))], Some(1));
    }

    /// Whoever lends accepts its packets before anything is dropped, by whichever bridge.
    #[test]
    fn a_lenders_packets_pass_by_rules_that_let_them_pass() {
        let address = [192, 0, 2, 158].into();
        let program = FastPath::lending("eth0", Hook::Tcx("st-lent".into()), &Ends::example(), address);
        let rule = |matches: Vec<Match>, verdict| FilterRule {
            bridge: "lent".into(),
            chain: Chain::Forward,
            matches,
            verdict,
        };
        let [inwards, outwards] =
            borrow::lent("st-lent", "eth0", address).map(|way| rule(way, Verdict::Accept));
        let [elsewhere, _] = borrow::lent("st-lent", "eth1", address).map(|way| rule(way, Verdict::Accept));
        let other = rule(vec![Match::Out("st-dc".into())], Verdict::Accept);
        let clamp = rule(vec![Match::In("eth0".into()), Match::TcpSyn], Verdict::ClampMss(1416));
        let all = rule(vec![Match::In("eth0".into())], Verdict::ClampMss(1416));
        let drop = rule(vec![Match::In("eth0".into()), Match::Ipv4], Verdict::Drop);
        let mark = rule(vec![Match::In("eth0".into())], Verdict::MarkPacket(7));
        let output = FilterRule { chain: Chain::Output, ..mark.clone() };
        let check = |rules: &[&FilterRule], expected| {
            let plan = told(rules.iter().copied().cloned().collect());
            assert_eq!(plan.chains_passed(&program), expected, "{rules:?}");
        };
        check(&[&clamp, &inwards, &outwards, &drop], Some(1));
        check(&[&output, &clamp, &other, &outwards, &inwards, &drop, &mark], Some(1));
        check(&[], None);
        check(&[&inwards, &elsewhere], None);
        check(&[&inwards, &drop, &outwards], None);
        check(&[&drop, &inwards, &outwards], None);
        check(&[&inwards, &mark, &outwards], None);
        check(&[&all, &inwards, &outwards], None);
        check(&[&inwards, &elsewhere, &outwards], Some(1));
    }

    /// A host that lends twice and translates: its rules stand in one chain. What it lends goes
    /// directly, and a translator's packets meet the lender's rules.
    #[test]
    fn a_plans_rules_let_a_lenders_packets_pass() {
        let text = r#"
            [host.gate]
            uplink = "eth0"
            ipv4 = ["192.0.2.157/24", "192.0.2.158/24", "192.0.2.159/24"]
            gateway4 = "192.0.2.1"
            ipv6 = "2001:db8:aefc::2"
            [host.home]
            uplink = "eth0"
            ipv6 = "2001:db8:eec0::2"
            [[siit]]
            name = "dc"
            host = "gate"
            pool6 = "2001:db8:64::/96"
            direct = "eth0"
            [[borrow]]
            address = "192.0.2.158"
            from = "gate"
            to = "home"
            direct = true
            [[borrow]]
            address = "192.0.2.159"
            from = "gate"
            to = "home"
            key = 2
            direct = true
            "#;
        let model = crate::model::read(text).unwrap();
        let words = [Offers::FAST_PATH, Offers::FAST_DIRECT, Offers::FAST_OUTWARD, Offers::FAST_INWARD];
        let offers =
            Offers(words.into_iter().chain([Offers::FAST_LENDER]).map(|word| (word, None)).collect());
        let (live, memory, endpoints) = Default::default();
        let facts = Facts { live: &live, memory: &memory, offers: &offers, seed: 0, endpoints: &endpoints };
        let plan = plan(&model, "gate", &facts);
        let rules: Vec<_> = plan.forward().map(|rule| (rule.bridge.as_str(), rule.verdict)).collect();
        assert!(rules.iter().filter(|(_, verdict)| *verdict == Verdict::Drop).count() > 4, "{rules:?}");
        let told: Vec<_> =
            plan.direct().map(|program| (program.serves(), plan.chains_passed(program))).collect();
        assert_eq!(told, [("st-c000029e", Some(1)), ("st-c000029f", Some(1)), ("st-dc", None)]);
    }
}
