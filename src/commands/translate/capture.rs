//! Reads pcap and pcapng, record by record, whatever the file's size.

use std::io::{self, Read};
use std::ops::Range;

use pcap_parser::nom;
use pcap_parser::traits::PcapNGPacketBlock as _;
use pcap_parser::{
    EPB_MAGIC, EnhancedPacketBlock, IDB_MAGIC, InterfaceDescriptionBlock, LegacyPcapBlock, OptionCode,
    PcapError, PcapHeader, SHB_MAGIC, SPB_MAGIC, SimplePacketBlock,
};

use super::link::Link;
use super::moment::Moment;

/// A capture that is read from its beginning to its end.
pub(super) struct Capture<R> {
    input: R,
    /// What was read and not yet used begins at `start`.
    buffer: Vec<u8>,
    start: usize,
    /// Bytes of the file in front of `buffer`.
    before: u64,
    format: Format,
}

/// A packet as the capture has it.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// When; a simple packet block of pcapng does not tell.
    pub(super) time: Option<Moment>,
    pub(super) link: Link,
    /// The bytes that were captured.
    pub(super) frame: &'a [u8],
    /// How many there were on the wire.
    pub(super) length: u32,
}

/// Why a capture can't be read on.
#[derive(Debug)]
pub(super) enum Broken {
    /// The file itself.
    Read(io::Error),
    /// Its first bytes are of neither format.
    NotACapture,
    /// It ends within a record.
    Cut,
    /// What stands at this byte is no record, or one longer than any.
    Malformed(u64),
    /// It has a packet of a link type that is not read.
    LinkType(u16),
}

enum Format {
    Pcap { header: PcapHeader, link: u16 },
    PcapNg { big_endian: bool, interfaces: Vec<Interface> },
}

/// An interface description block.
struct Interface {
    link: u16,
    /// The most bytes that were captured of a packet; zero for no limit.
    snap: u32,
    /// `if_tsresol`.
    resolution: u8,
    /// `if_tsoffset`, in seconds.
    offset: i64,
}

/// What a record holds.
enum Held {
    Packet {
        time: Option<Moment>,
        link: u16,
        frame: Range<usize>,
        length: u32,
    },
    Section {
        big_endian: bool,
    },
    Interface(Interface),
    /// Nothing that concerns a translator: statistics, names, comments.
    Other,
}

/// Why there is no next record in the bytes at hand.
enum Stop {
    /// More bytes may help.
    Short,
    Wrong,
}

impl<R: Read> Capture<R> {
    pub(super) fn open(input: R) -> Result<Self, Broken> {
        let format = Format::PcapNg { big_endian: false, interfaces: Vec::new() };
        let mut capture = Self { input, buffer: Vec::new(), start: 0, before: 0, format };
        while capture.buffer.len() < FILE_HEADER && capture.refill()? {}
        let magic = capture.buffer.first_chunk().ok_or(Broken::NotACapture)?;
        if u32::from_le_bytes(*magic) == SHB_MAGIC {
            return Ok(capture);
        }
        let (_, header) = pcap_parser::parse_pcap_header(&capture.buffer).map_err(|_| Broken::NotACapture)?;
        // The upper half tells of the frame check sequence, which is padding to whoever reads IP.
        let link = header.network.0 as u16;
        capture.format = Format::Pcap { header, link };
        capture.start = FILE_HEADER;
        Ok(capture)
    }

    /// How finely times are told, in decimal places; pcapng can do better than either pcap.
    pub(super) fn places(&self) -> u8 {
        match &self.format {
            Format::Pcap { header, .. } => places(header),
            Format::PcapNg { .. } => 9,
        }
    }

    /// The next packet; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, Broken> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            let read = if rest.is_empty() { Err(Stop::Short) } else { self.format.read(rest) };
            let (held, length) = match read {
                Ok(read) => read,
                Err(Stop::Wrong) => return Err(self.malformed()),
                Err(Stop::Short) if rest.len() > LONGEST => return Err(self.malformed()),
                Err(Stop::Short) => {
                    let empty = rest.is_empty();
                    match self.refill()? {
                        true => continue,
                        false if empty => return Ok(None),
                        false => return Err(Broken::Cut),
                    }
                }
            };
            let begin = self.start;
            self.start += length;
            match held {
                Held::Packet { time, link, frame, length } => {
                    let link = Link::of_number(link).ok_or(Broken::LinkType(link))?;
                    let frame = self.buffer.get(begin + frame.start..begin + frame.end).unwrap_or_default();
                    return Ok(Some(Record { time, link, frame, length }));
                }
                Held::Section { big_endian } => {
                    self.format = Format::PcapNg { big_endian, interfaces: Vec::new() };
                }
                Held::Interface(interface) => self.format.describe(interface),
                Held::Other => {}
            }
        }
    }

    fn malformed(&self) -> Broken {
        Broken::Malformed(self.before + self.start as u64)
    }

    /// Reads on, at least as much as there is; `false` at the end of the file.
    fn refill(&mut self) -> Result<bool, Broken> {
        self.buffer.drain(..self.start);
        self.before += self.start as u64;
        self.start = 0;
        let wanted = self.buffer.len().max(CHUNK) as u64;
        let read = self.input.by_ref().take(wanted).read_to_end(&mut self.buffer);
        Ok(read.map_err(Broken::Read)? > 0)
    }
}

impl Format {
    /// The record that the bytes begin with, and its length in bytes.
    fn read(&self, bytes: &[u8]) -> Result<(Held, usize), Stop> {
        match self {
            Self::Pcap { header, link } => pcap(bytes, header, *link),
            Self::PcapNg { big_endian, interfaces } => pcapng(bytes, *big_endian, interfaces),
        }
    }

    fn describe(&mut self, interface: Interface) {
        match self {
            Self::PcapNg { interfaces, .. } => interfaces.push(interface),
            Self::Pcap { .. } => {}
        }
    }
}

fn pcap(bytes: &[u8], header: &PcapHeader, link: u16) -> Result<(Held, usize), Stop> {
    let parse = match (header.is_modified_format(), header.is_bigendian()) {
        (true, _) => pcap_parser::parse_pcap_frame_modified,
        (false, true) => pcap_parser::parse_pcap_frame_be,
        (false, false) => pcap_parser::parse_pcap_frame,
    };
    let (LegacyPcapBlock { ts_sec, ts_usec, caplen, origlen, data }, length) = whole(bytes, parse(bytes))?;
    // No record is that long, whatever the header says of the longest.
    if caplen as usize > LONGEST {
        return Err(Stop::Wrong);
    }
    let time = Moment::of_fraction(ts_sec, ts_usec, places(header));
    let held = Held::Packet { time: Some(time), link, frame: length - data.len()..length, length: origlen };
    Ok((held, length))
}

fn places(header: &PcapHeader) -> u8 {
    if header.is_nanosecond_precision() { 9 } else { 6 }
}

fn pcapng(bytes: &[u8], big_endian: bool, interfaces: &[Interface]) -> Result<(Held, usize), Stop> {
    let kind = *bytes.first_chunk().ok_or(Stop::Short)?;
    let kind = if big_endian { u32::from_be_bytes(kind) } else { u32::from_le_bytes(kind) };
    match kind {
        SHB_MAGIC => {
            let (block, length) = whole(bytes, pcap_parser::parse_sectionheaderblock(bytes))?;
            Ok((Held::Section { big_endian: block.big_endian() }, length))
        }
        IDB_MAGIC => {
            let parse = if big_endian {
                pcap_parser::parse_interfacedescriptionblock_be
            } else {
                pcap_parser::parse_interfacedescriptionblock_le
            };
            let (block, length) = whole(bytes, parse(bytes))?;
            Ok((Held::Interface(Interface::new(&block, big_endian)), length))
        }
        EPB_MAGIC => {
            let parse = if big_endian {
                pcap_parser::parse_enhancedpacketblock_be
            } else {
                pcap_parser::parse_enhancedpacketblock_le
            };
            let (block, length) = whole(bytes, parse(bytes))?;
            Ok((enhanced(&block, interfaces)?, length))
        }
        SPB_MAGIC => {
            let parse = if big_endian {
                pcap_parser::parse_simplepacketblock_be
            } else {
                pcap_parser::parse_simplepacketblock_le
            };
            let (block, length) = whole(bytes, parse(bytes))?;
            Ok((simple(&block, interfaces)?, length))
        }
        // Packets in a block without use since 2008: better refused than left out.
        OBSOLETE_PACKET => Err(Stop::Wrong),
        _ => {
            let parse = if big_endian {
                pcap_parser::parse_unknownblock_be
            } else {
                pcap_parser::parse_unknownblock_le
            };
            let (_, length) = whole(bytes, parse(bytes))?;
            Ok((Held::Other, length))
        }
    }
}

fn enhanced(block: &EnhancedPacketBlock<'_>, interfaces: &[Interface]) -> Result<Held, Stop> {
    let interface = interfaces.get(block.if_id as usize).ok_or(Stop::Wrong)?;
    let units = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
    Ok(Held::Packet {
        time: Some(Moment::of_units(units, interface.resolution, interface.offset)),
        link: interface.link,
        frame: ENHANCED_HEADER..ENHANCED_HEADER + block.packet_data().len(),
        length: block.origlen,
    })
}

/// It has no length of its own: all of the packet up to the interface's limit.
fn simple(block: &SimplePacketBlock<'_>, interfaces: &[Interface]) -> Result<Held, Stop> {
    let interface = interfaces.first().ok_or(Stop::Wrong)?;
    let limit = if interface.snap == 0 { usize::MAX } else { interface.snap as usize };
    let captured = block.packet_data().len().min(limit);
    let frame = SIMPLE_HEADER..SIMPLE_HEADER + captured;
    Ok(Held::Packet { time: None, link: interface.link, frame, length: block.origlen })
}

impl Interface {
    fn new(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        let offset = block.options.iter().find(|option| option.code == OptionCode::IfTsoffset);
        let offset = offset.and_then(|option| option.value.first_chunk()).map_or(0, |bytes| {
            if big_endian { i64::from_be_bytes(*bytes) } else { i64::from_le_bytes(*bytes) }
        });
        let link = block.linktype.0 as u16;
        Self { link, snap: block.snaplen, resolution: block.if_tsresol, offset }
    }
}

/// What was parsed, and the bytes that it took.
fn whole<'a, T>(
    bytes: &'a [u8],
    parsed: nom::IResult<&'a [u8], T, PcapError<&'a [u8]>>,
) -> Result<(T, usize), Stop> {
    match parsed {
        Ok((rest, parsed)) => Ok((parsed, bytes.len() - rest.len())),
        Err(nom::Err::Incomplete(_)) => Err(Stop::Short),
        Err(nom::Err::Error(_) | nom::Err::Failure(_)) => Err(Stop::Wrong),
    }
}

/// The header of a pcap file, and the shortest section header block.
const FILE_HEADER: usize = 24;
/// What stands before the frame in an enhanced packet block.
const ENHANCED_HEADER: usize = 28;
/// And in a simple one.
const SIMPLE_HEADER: usize = 12;
const OBSOLETE_PACKET: u32 = 2;
/// What is read at once.
const CHUNK: usize = 1 << 18;
/// What no record exceeds: the kernel's largest super-packets have half a megabyte.
const LONGEST: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn pcap(frames: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
        let mut file = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0].to_vec();
        file.extend([0; 12]);
        file.extend(101_u32.to_le_bytes());
        for frame in frames {
            let length = (frame.len() as u32).to_le_bytes();
            file.extend([[7, 0, 0, 0], [0; 4], length, length].concat());
            file.extend(frame);
        }
        file
    }

    /// A section, an interface, and a packet of one byte.
    const PCAPNG: &[u8] =
        b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0\
        \x01\0\0\0\x14\0\0\0\x65\0\0\0\0\0\0\0\x14\0\0\0\
        \x06\0\0\0\x24\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\x01\0\0\0\x01\0\0\0\x45\0\0\0\x24\0\0\0";

    /// The lengths of all frames; it must come to an end.
    fn read(file: &[u8]) -> Result<Vec<usize>, Broken> {
        let mut capture = Capture::open(file)?;
        let mut lengths = Vec::new();
        while let Some(record) = capture.next()? {
            assert!(record.time.is_some());
            lengths.push(record.frame.len());
        }
        Ok(lengths)
    }

    fn check(lengths: Vec<usize>) {
        let file = pcap(lengths.iter().map(|length| vec![0x45; *length]));
        assert_eq!(read(&file).unwrap(), lengths);
    }

    #[test]
    fn any_size() {
        check(vec![]);
        check(vec![0, 1, 0]);
        check((0..9000).map(|index| index % 211).collect());
        check(vec![1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 1]);
        check(vec![LONGEST, 1]);
        let longer = pcap([vec![0; LONGEST + 1]].into_iter());
        assert!(matches!(read(&longer), Err(Broken::Malformed(24))));
    }

    #[test]
    fn cut_anywhere() {
        let pcap = pcap([vec![0x45], vec![0x60; 3]].into_iter());
        let whole = [24, 24 + 17, pcap.len()];
        for end in 0..pcap.len() {
            let read = read(&pcap[..end]);
            match whole.iter().position(|whole| *whole == end) {
                Some(count) => assert_eq!(read.unwrap().len(), count),
                None if end < 24 => assert!(matches!(read, Err(Broken::NotACapture))),
                None => assert!(matches!(read, Err(Broken::Cut))),
            }
        }
        let whole = [28, 48, PCAPNG.len()];
        for end in 4..=PCAPNG.len() {
            let read = read(&PCAPNG[..end]);
            assert_eq!(read.is_ok(), whole.contains(&end), "{end}");
            assert!(matches!(read, Ok(_) | Err(Broken::Cut)), "{end}");
        }
        assert_eq!(read(PCAPNG).unwrap(), [1]);
    }

    /// No byte makes it fall or run on.
    #[test]
    fn any_byte() {
        let pcap = pcap([vec![0x45], vec![0x60; 3]].into_iter());
        for file in [pcap.as_slice(), PCAPNG] {
            for at in 0..file.len() {
                for byte in [0, 1, 2, 4, 0x0b, 0x7f, 0x80, 0xff] {
                    let mut file = file.to_vec();
                    file[at] = byte;
                    assert!(read(&file).map_or(0, |read| read.len()) <= 2);
                }
            }
        }
    }
}
