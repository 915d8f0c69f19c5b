//! Neighbours that ask for addresses of clients, answered on the uplink.

use std::os::fd::BorrowedFd;

use serde_json::{Value, json};
use straddle_intent::model::NeighbourSource;
use straddle_intent::plan::Answers;
use straddle_serve::neighbour::{Manner, Responder, Source, Table};

use crate::complaint::Complaint;

/// Answers while this is there.
#[derive(Default)]
pub(super) struct Answering(Option<(Answers, Responder)>);

impl Answering {
    /// Answers for these from here on. A change of addresses is told to whoever answers already.
    pub(super) fn change(&mut self, wanted: Option<&Answers>) -> Result<(), Complaint> {
        let Some(wanted) = wanted else {
            self.0 = None;
            return Ok(());
        };
        match &mut self.0 {
            Some((answers, responder))
                if (&answers.device, answers.source) == (&wanted.device, wanted.source)
                    && !super::is_readable(responder.ended()) =>
            {
                if answers != wanted {
                    answers.clone_from(wanted);
                    responder.assign(table(wanted)).map_err(not_answered)?;
                }
            }
            Some(_) | None => {
                self.0 = None;
                let source = match wanted.source {
                    NeighbourSource::LinkLocal => Source::LinkLocal,
                    NeighbourSource::Global(address) => Source::Global(address),
                    NeighbourSource::AsAsked(address) => Source::AsAsked(address),
                };
                // A server of tunnels forwards.
                let manner = Manner { source, router: true };
                let responder = Responder::begin(&wanted.device, manner, table(wanted));
                self.0 = Some((wanted.clone(), responder.map_err(not_answered)?));
            }
        }
        Ok(())
    }

    /// Can be read from once it has ended by itself.
    pub(super) fn ended(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|(_, responder)| responder.ended())
    }

    /// What was heard.
    pub(super) fn report(&self) -> Option<Value> {
        self.0.as_ref().map(|(_, responder)| json!(responder.report()))
    }
}

fn table(answers: &Answers) -> Table {
    Table::new(answers.assigned.iter().copied(), answers.own.iter().copied())
}

fn not_answered(why: impl ToString) -> Complaint {
    Complaint::Other {
        message: format!("neighbours on the uplink can't be answered: {}", why.to_string()),
        help: "mend that; it is tried again when something changes".into(),
    }
}
