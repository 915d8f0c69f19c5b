//! What a running straddle must know to vouch for packets that go past a translator's device.

use crate::object::{Chain, FastPath, FilterRule, Match, Object, Task, Verdict, Wanted};

use super::{Plan, Via};

impl Plan {
    /// How many chains of ours stand at the forward hook, where all of their rules are such that no packet needs to meet
    /// them that goes past a translator's device: those of translators, and what is changed in the first packet of a
    /// connection. None where there are others.
    #[must_use]
    pub fn chains_passed(&self) -> Option<u32> {
        let translates = |name: &str| {
            let known = self.bridges.iter().find(|bridge| bridge.name == name);
            known.is_some_and(|bridge| matches!(bridge.via, Via::Translator(_)))
        };
        let passed = |rule: &FilterRule| {
            let clamps =
                matches!(rule.verdict, Verdict::ClampMss(_)) && rule.matches.contains(&Match::TcpSyn);
            translates(&rule.bridge) || clamps
        };
        let mut chains = 0;
        for wanted in &self.wanted {
            let Wanted::Object(Object::Filter(filter)) = wanted else { continue };
            for rule in filter.rules.iter().filter(|rule| rule.chain == Chain::Forward) {
                chains = 1;
                if !passed(rule) {
                    return None;
                }
            }
        }
        Some(chains)
    }

    /// The programs that send packets past a translator's device.
    pub fn direct(&self) -> impl Iterator<Item = &FastPath> {
        self.wanted.iter().filter_map(|wanted| {
            let Wanted::Object(Object::FastPath(program)) = wanted else { return None };
            matches!(program.task.as_deref(), Some(Task::Direct(_))).then_some(program)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::object::Filter;
    use crate::plan::{Bridge, Routes};

    use super::*;

    #[test]
    fn rules_of_others_are_not_passed_by() {
        let bridge =
            |name: &str, via: Via| Bridge { name: name.into(), recipe: "", part: String::new(), via };
        let told = |rules: &[(&str, Chain, Verdict)]| {
            let rule = |(bridge, chain, verdict): &(&str, Chain, Verdict)| FilterRule {
                bridge: (*bridge).into(),
                chain: *chain,
                matches: vec![Match::TcpSyn],
                verdict: *verdict,
            };
            let filter = Filter { rules: rules.iter().map(rule).collect() };
            let translator = Via::Translator(Box::default());
            let bridges = vec![bridge("dc", translator), bridge("other", Via::Routes(Routes::default()))];
            Plan { bridges, wanted: vec![Wanted::Object(Object::Filter(filter))], ..Plan::default() }
        };
        let check = |rules: &[_], expected| assert_eq!(told(rules).chains_passed(), expected, "{rules:?}");
        check(&[], Some(0));
        check(&[("dc", Chain::Forward, Verdict::Drop)], Some(1));
        check(&[("dc", Chain::Forward, Verdict::Drop), ("other", Chain::Output, Verdict::Drop)], Some(1));
        check(&[("dc", Chain::Forward, Verdict::Drop), ("other", Chain::Forward, Verdict::Drop)], None);
        check(&[("other", Chain::Forward, Verdict::ClampMss(1220))], Some(1));
    }
}
