mod bridge;
mod capture;
mod link;
mod moment;
mod out;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use straddle_wire::ip::{Version, version};
use straddle_xlat::{Config, Kind, Reason, State, Translator, Verdict};

use crate::cli::{Exit, Place, Translate};
use crate::complaint::Complaint;
use crate::render;
use crate::say;
use crate::site::read;

use super::Ended;

use bridge::Mistake;
use capture::{Broken, Capture, Record};
pub(crate) use moment::Moment;
use out::OutFile;

/// Why a packet of a capture never came to the translator.
mod unread {
    straddle_wire::reasons! {
        /// Why a packet of a capture never came to the translator: `translate`'s own reasons.
        Snapped "snapped" "The capture has the beginning of the packet only; capture with a larger snapshot length."
        NotIp "not-ip" "The frame held no IP packet."
        LinkHeader "link-header" "The frame ended within its link-layer header."
        LinkVersion "link-version" "The link-layer header named the other version of IP."
    }
}
pub(crate) use unread::Reason as Unread;

/// Why a packet was not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// By the translator.
    Translator(Reason),
    /// By the capture.
    Capture(Unread),
}

impl Why {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Translator(reason) => reason.name(),
            Self::Capture(unread) => unread.name(),
        }
    }

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Translator(reason) => reason.describe(),
            Self::Capture(unread) => unread.describe(),
        }
    }
}

/// How a packet of a capture ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Forward,
    Reply(Why),
    Pass(Why),
    Drop(Why),
}

impl From<Verdict> for End {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Forward => Self::Forward,
            Verdict::Reply(reason) => Self::Reply(Why::Translator(reason)),
            Verdict::Pass(reason) => Self::Pass(Why::Translator(reason)),
            Verdict::Drop(reason) => Self::Drop(Why::Translator(reason)),
        }
    }
}

impl From<Unread> for End {
    fn from(unread: Unread) -> Self {
        let why = Why::Capture(unread);
        match unread {
            Unread::NotIp => Self::Pass(why),
            Unread::Snapped | Unread::LinkHeader | Unread::LinkVersion => Self::Drop(why),
        }
    }
}

/// A packet that came out.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) side: Version,
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
}

/// What became of one packet of the capture.
pub(crate) struct Told<'a> {
    /// Its place in the capture, from 1.
    pub(crate) number: u64,
    pub(crate) time: Option<Moment>,
    /// Microseconds since the first packet.
    pub(crate) since: i128,
    pub(crate) end: End,
    /// From its IP header on, where it was read; else all that was captured.
    pub(crate) packet: Result<&'a [u8], &'a [u8]>,
    /// Bytes on the wire, with the link-layer header.
    pub(crate) length: u32,
    pub(crate) out: &'a [Sent],
}

/// What became of all of them.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) packets: u64,
    pub(crate) forward: u64,
    pub(crate) reply: u64,
    pub(crate) pass: u64,
    pub(crate) drop: u64,
    /// Packets that came out.
    pub(crate) out: u64,
    pub(crate) why: BTreeMap<Why, u64>,
    /// Those refused as too big that were so for the side that they came from.
    pub(crate) super_packets: u64,
}

/// Tells for each packet of a capture what a bridge's translator would make of it.
pub(crate) fn translate(place: &Place, question: &Translate) -> Ended {
    let model = read(&place.config)?.model;
    let config = match bridge::config(&model, question) {
        Ok(config) => config,
        Err(mistake) => return mistaken(mistake),
    };
    let file = match File::open(&question.capture) {
        Ok(file) => file,
        Err(why) => {
            let message = format!("{}: {why}", question.capture.display());
            return mistaken(Mistake { message, help: "name a capture that is there".into() });
        }
    };
    let broken = |broken, packets| complain(&question.capture, broken, packets);
    let mut capture = Capture::open(file).map_err(|why| broken(why, 0))?;
    let unwritten = |why| not_written(question.out.as_deref(), &why);
    let out = question.out.as_deref().map(|path| OutFile::create(path, capture.places()));
    let mut run = Run::new(config, question.json, out.transpose().map_err(unwritten)?);
    let end = loop {
        match capture.next() {
            Ok(Some(record)) => run.record(&record, question.out.as_deref())?,
            Ok(None) => break None,
            Err(why) => break Some(why),
        }
    };
    run.tell_totals()?;
    if let Some(why) = end {
        return Err(broken(why, run.totals.packets));
    }
    run.out.take().map_or(Ok(()), OutFile::finish).map_err(unwritten)?;
    Ok(Exit::Done)
}

/// One walk through a capture.
struct Run {
    translator: Translator,
    state: State,
    /// The capture's time in milliseconds; it does not go back.
    clock: u64,
    first: Option<Moment>,
    out: Option<OutFile>,
    sent: Vec<Sent>,
    totals: Totals,
    json: bool,
    page: String,
}

impl Run {
    fn new(config: Config, json: bool, out: Option<OutFile>) -> Self {
        // A seed that is always the same: so is what the command tells.
        let (translator, state) = (Translator::new(config), State::new(0));
        let (sent, totals, page) = (Vec::new(), Totals::default(), String::new());
        Self { translator, state, clock: 0, first: None, out, sent, totals, json, page }
    }

    /// Translates one packet and tells of it.
    fn record(&mut self, record: &Record<'_>, out: Option<&Path>) -> Result<(), Complaint> {
        if let Some(time) = record.time {
            self.clock = self.clock.max(time.milliseconds());
            self.first.get_or_insert(time);
        }
        self.sent.clear();
        let read = read_packet(record);
        let end = match read {
            Ok(packet) => self.translate(packet),
            Err(unread) => unread.into(),
        };
        self.totals.packets += 1;
        self.totals.count(end, &self.sent);
        let since = record.time.zip(self.first).map_or(0, |(time, first)| time.microseconds_since(first));
        let told = Told {
            number: self.totals.packets,
            time: record.time,
            since,
            end,
            packet: read.map_err(|_| record.frame),
            length: record.length,
            out: &self.sent,
        };
        if self.json {
            render::translate_json(&told, &mut self.page);
        } else {
            render::translate(&told, &mut self.page);
        }
        if let Some(file) = &mut self.out {
            let mut packets = self.sent.iter();
            let written = packets.try_for_each(|sent| file.packet(record.time, &sent.bytes));
            written.map_err(|why| not_written(out, &why))?;
        }
        if self.page.len() >= PAGE { self.turn() } else { Ok(()) }
    }

    fn translate(&mut self, packet: &[u8]) -> End {
        let (sent, single) = (&mut self.sent, Default::default());
        let verdict = self.translator.translate(&mut self.state, self.clock, &single, packet, &mut |out| {
            sent.push(Sent { side: out.side, kind: out.kind, bytes: [out.head, out.payload].concat() });
        });
        if verdict == Verdict::Reply(Reason::TooBig) && self.is_oversized(packet) {
            self.totals.super_packets += 1;
        }
        verdict.into()
    }

    /// Whether a packet can't have been on the wire that it came from.
    fn is_oversized(&self, packet: &[u8]) -> bool {
        let config = self.translator.config();
        match version(packet) {
            Ok(Version::V4) => packet.len() > config.mtu4.into(),
            Ok(Version::V6) => packet.len() > config.mtu6.into(),
            Err(_) => false,
        }
    }

    fn tell_totals(&mut self) -> Result<(), Complaint> {
        if !self.json {
            self.page += &render::translate_totals(&self.totals);
        }
        self.turn()
    }

    /// Says what stands on the page.
    fn turn(&mut self) -> Result<(), Complaint> {
        say::result(&self.page)?;
        self.page.clear();
        Ok(())
    }
}

fn read_packet<'a>(record: &Record<'a>) -> Result<&'a [u8], Unread> {
    if record.frame.len() < record.length as usize {
        return Err(Unread::Snapped);
    }
    record.link.packet(record.frame)
}

impl Totals {
    fn count(&mut self, end: End, sent: &[Sent]) {
        self.out += sent.len() as u64;
        let (count, why) = match end {
            End::Forward => (&mut self.forward, None),
            End::Reply(why) => (&mut self.reply, Some(why)),
            End::Pass(why) => (&mut self.pass, Some(why)),
            End::Drop(why) => (&mut self.drop, Some(why)),
        };
        *count += 1;
        if let Some(why) = why {
            *self.why.entry(why).or_default() += 1;
        }
    }
}

/// Ends as a mistake in the command line does.
fn mistaken(mistake: Mistake) -> Ended {
    let Mistake { message, help } = mistake;
    say::aside(&render::complaint(&Complaint::Other { message, help }));
    Ok(Exit::Mistake)
}

fn not_written(path: Option<&Path>, why: &io::Error) -> Complaint {
    let path = path.unwrap_or(Path::new("")).display();
    Complaint::Other {
        message: format!("{path} can't be written: {why}"),
        help: "name a file in a folder with room, where you may write".into(),
    }
}

fn complain(path: &Path, broken: Broken, packets: u64) -> Complaint {
    let path = path.display();
    let after = if packets == 0 { String::new() } else { format!(", after packet {packets}") };
    let (message, help) = match broken {
        Broken::Read(why) => (format!("{path} can't be read{after}: {why}"), "is it a file?"),
        Broken::NotACapture => {
            (format!("{path} is neither pcap nor pcapng"), "unpack it first if it is compressed")
        }
        Broken::Cut => (
            format!("{path} ends within a record{after}"),
            "capture again, or leave out the end; OUT was not written",
        ),
        Broken::Malformed(at) => (
            format!("{path} has no record of pcap or pcapng at byte {at}{after}"),
            "capture again, or leave out the end; OUT was not written",
        ),
        Broken::LinkType(number) => (
            format!("{path} has packets of link type {number}{after}"),
            "capture Ethernet, raw IP or Linux \"cooked\" packets: tcpdump's `-y EN10MB`, or another device",
        ),
    };
    Complaint::Other { message, help: help.into() }
}

/// How much is said at once, in bytes.
const PAGE: usize = 1 << 16;
