//! Packet captures: classic pcap and pcapng, and the layers around a UDP datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const CLASSIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const CLASSIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const CLASSIC_HEADER_BYTES: usize = 24;
const CLASSIC_RECORD_BYTES: usize = 16;

const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const UDP: u8 = 17;
const UDP_HEADER_BYTES: usize = 8;

/// What stands before the IP header, by the capture's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// A family, four bytes.
    Null,
    Ethernet,
    /// Nothing.
    Raw,
    /// Linux's device `any`.
    Cooked,
    /// The same, second version.
    CookedToo,
    Unknown,
}

impl Link {
    fn of(number: u32) -> Self {
        // The upper bits say how a check sequence is captured.
        match number & 0xffff {
            0 | 108 => Self::Null,
            1 => Self::Ethernet,
            12 | 101 | 228 | 229 => Self::Raw,
            113 => Self::Cooked,
            276 => Self::CookedToo,
            _ => Self::Unknown,
        }
    }
}

/// One captured frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    link: Link,
    bytes: &'a [u8],
    /// Whether the capture kept its beginning only.
    cut: bool,
}

/// The frames of a capture.
#[derive(Debug, Default)]
pub struct Frames<'a> {
    /// In the order of their capture.
    pub frames: Vec<Frame<'a>>,
    /// Why the file does not go on.
    pub broken: Option<String>,
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its sender, as it says.
    pub from: SocketAddr,
    /// Its destination.
    pub to: SocketAddr,
    /// Its content, as far as it was captured.
    pub payload: &'a [u8],
    /// Whether the capture kept its beginning only.
    pub cut: bool,
}

/// Numbers in the byte order of the host that captured.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }
}

/// Whether a file that begins like this is a capture.
pub fn is_capture(beginning: &[u8]) -> bool {
    classic_order(beginning).is_some() || Order { big: true }.u32(beginning, 0) == Some(SECTION)
}

fn classic_order(bytes: &[u8]) -> Option<Order> {
    [Order { big: false }, Order { big: true }]
        .into_iter()
        .find(|order| matches!(order.u32(bytes, 0), Some(CLASSIC_MICROSECONDS | CLASSIC_NANOSECONDS)))
}

/// Takes the frames out of a capture's file, up to where it is broken.
pub fn frames(bytes: &[u8]) -> Frames<'_> {
    let mut found = Frames::default();
    let whole = match classic_order(bytes) {
        Some(order) => classic(bytes, order, &mut found.frames),
        None => blocks(bytes, &mut found.frames),
    };
    if whole.is_none() {
        found.broken = Some(format!("the file ends, or is damaged, after frame {}", found.frames.len()));
    }
    found
}

fn classic<'a>(bytes: &'a [u8], order: Order, frames: &mut Vec<Frame<'a>>) -> Option<()> {
    let link = Link::of(order.u32(bytes, 20)?);
    let mut rest = bytes.get(CLASSIC_HEADER_BYTES..)?;
    while !rest.is_empty() {
        let (kept, length) = (order.u32(rest, 8)?, order.u32(rest, 12)?);
        let end = CLASSIC_RECORD_BYTES.checked_add(kept as usize)?;
        frames.push(Frame { link, bytes: rest.get(CLASSIC_RECORD_BYTES..end)?, cut: kept < length });
        rest = &rest[end..];
    }
    Some(())
}

fn blocks<'a>(bytes: &'a [u8], frames: &mut Vec<Frame<'a>>) -> Option<()> {
    let mut rest = bytes;
    let mut order = Order { big: false };
    let mut links = Vec::new();
    while !rest.is_empty() {
        let kind = order.u32(rest, 0)?;
        // A section says which byte order it has; its own kind reads the same in both.
        if kind == SECTION {
            order = [Order { big: false }, Order { big: true }]
                .into_iter()
                .find(|order| order.u32(rest, 8) == Some(BYTE_ORDER))?;
            links.clear();
        }
        let length = order.u32(rest, 4)? as usize;
        if length < 12 || !length.is_multiple_of(4) {
            return None;
        }
        let (block, after) = rest.split_at_checked(length)?;
        let content = &block[8..length - 4];
        match kind {
            INTERFACE => links.push(Link::of(u32::from(order.u16(content, 0)?))),
            ENHANCED_PACKET => {
                let link = *links.get(order.u32(content, 0)? as usize)?;
                let (kept, length) = (order.u32(content, 12)?, order.u32(content, 16)?);
                let end = 20usize.checked_add(kept as usize)?;
                frames.push(Frame { link, bytes: content.get(20..end)?, cut: kept < length });
            }
            SIMPLE_PACKET => {
                let length = order.u32(content, 0)? as usize;
                let kept = length.min(content.len() - 4);
                frames.push(Frame { link: *links.first()?, bytes: &content[4..4 + kept], cut: kept < length });
            }
            _ => {}
        }
        rest = after;
    }
    Some(())
}

/// The UDP datagram in a frame; none where there is another protocol, or a fragment.
pub fn datagram<'a>(frame: &Frame<'a>) -> Option<Datagram<'a>> {
    let bytes = frame.bytes;
    let packet = match frame.link {
        Link::Raw => bytes,
        Link::Null => bytes.get(4..)?,
        Link::Cooked => bytes.get(16..)?,
        Link::CookedToo => bytes.get(20..)?,
        Link::Ethernet => {
            let mut at = 12;
            // Tags of virtual networks.
            while matches!(bytes.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
                at += 4;
            }
            bytes.get(at + 2..)?
        }
        Link::Unknown => return None,
    };
    let (from, to, udp) = match packet.first()? >> 4 {
        4 => ipv4(packet)?,
        6 => ipv6(packet)?,
        _ => return None,
    };
    let big = Order { big: true };
    let payload = udp.get(UDP_HEADER_BYTES..)?;
    let length = usize::from(big.u16(udp, 4)?);
    // Zero where the kernel carried several datagrams as one that is longer than the field can say.
    let wanted = if length == 0 { payload.len() } else { length.checked_sub(UDP_HEADER_BYTES)? };
    Some(Datagram {
        from: SocketAddr::new(from, big.u16(udp, 0)?),
        to: SocketAddr::new(to, big.u16(udp, 2)?),
        payload: &payload[..wanted.min(payload.len())],
        cut: frame.cut || payload.len() < wanted,
    })
}

fn ipv4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header = packet.first_chunk::<20>()?;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    if header[9] != UDP || fragment != 0 {
        return None;
    }
    let address = |at: usize| Some(IpAddr::from(Ipv4Addr::from(*header.get(at..)?.first_chunk::<4>()?)));
    Some((address(12)?, address(16)?, packet.get(usize::from(header[0] & 0xf) * 4..)?))
}

fn ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header = packet.first_chunk::<40>()?;
    if header[6] != UDP {
        return None;
    }
    let address = |at: usize| Some(IpAddr::from(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?)));
    Some((address(8)?, address(24)?, &packet[40..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn udp(payload: &[u8]) -> Vec<u8> {
        let length = (UDP_HEADER_BYTES + payload.len()) as u16;
        [&7000u16.to_be_bytes()[..], &7001u16.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
    }

    fn ip4(payload: &[u8]) -> Vec<u8> {
        let mut header = [0; 20];
        header[0] = 0x45;
        header[9] = UDP;
        header[12..16].copy_from_slice(&[127, 0, 0, 1]);
        header[16..20].copy_from_slice(&[239, 0, 0, 1]);
        [&header[..], &udp(payload)].concat()
    }

    fn ip6(payload: &[u8]) -> Vec<u8> {
        let mut header = [0; 40];
        header[0] = 0x60;
        header[6] = UDP;
        header[23] = 1;
        header[39] = 1;
        [&header[..], &udp(payload)].concat()
    }

    fn classic_file(link: u32, frames: &[&[u8]], big: bool) -> Vec<u8> {
        let number = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut file: Vec<u8> = [CLASSIC_MICROSECONDS, 0, 0, 0, 65536, link].into_iter().flat_map(number).collect();
        for frame in frames {
            let length = frame.len() as u32;
            file.extend([0, 0, length, length].into_iter().flat_map(number));
            file.extend_from_slice(frame);
        }
        file
    }

    fn block(kind: u32, content: &[u8]) -> Vec<u8> {
        let padding = vec![0; content.len().next_multiple_of(4) - content.len()];
        let length = (12 + content.len() + padding.len()) as u32;
        let mut block = [kind.to_le_bytes(), length.to_le_bytes()].concat();
        block.extend_from_slice(content);
        block.extend_from_slice(&padding);
        block.extend_from_slice(&length.to_le_bytes());
        block
    }

    fn only<'a>(file: &'a [u8]) -> Datagram<'a> {
        assert!(is_capture(&file[..8]));
        let found = frames(file);
        assert!(found.broken.is_none() && found.frames.len() == 1, "{found:?}");
        datagram(&found.frames[0]).unwrap()
    }

    #[test]
    fn datagrams_are_found_in_every_kind_of_capture() {
        let ethernet = [&[0; 12][..], &[0x81, 0, 0, 5, 8, 0], &ip4(b"hello")].concat();
        for big in [false, true] {
            for (link, frame) in [
                (1, ethernet.clone()),
                (101, ip6(b"hello")),
                (0, [&[2, 0, 0, 0][..], &ip4(b"hello")].concat()),
                (113, [&[0; 16][..], &ip4(b"hello")].concat()),
                (276, [&[0; 20][..], &ip6(b"hello")].concat()),
            ] {
                let file = classic_file(link, &[&frame], big);
                let datagram = only(&file);
                assert_eq!((datagram.payload, datagram.cut), (&b"hello"[..], false), "link {link}");
                assert_eq!((datagram.from.port(), datagram.to.port()), (7000, 7001));
            }
        }
        let section = [BYTE_ORDER.to_le_bytes(), [1, 0, 0, 0], [0xff; 4], [0xff; 4]].concat();
        let mut packet = [0u32, 0, 0, ethernet.len() as u32, ethernet.len() as u32]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<_>>();
        packet.extend_from_slice(&ethernet);
        let interface = block(INTERFACE, &[1, 0, 0, 0, 0, 0, 0, 0]);
        let simple = [&(ethernet.len() as u32).to_le_bytes()[..], &ethernet].concat();
        for packet in [block(ENHANCED_PACKET, &packet), block(SIMPLE_PACKET, &simple)] {
            let file = [block(SECTION, &section), interface.clone(), block(99, b"else"), packet].concat();
            assert_eq!(only(&file).payload, b"hello");
        }
    }

    #[test]
    fn a_cut_file_keeps_what_came_before() {
        let frame = ip4(b"hello");
        let file = classic_file(101, &[&frame, &frame], false);
        let found = frames(&file[..file.len() - 1]);
        assert_eq!(found.frames.len(), 1);
        assert!(found.broken.unwrap().contains("frame 1"));
    }

    #[test]
    fn fragments_and_other_protocols_are_passed_over() {
        let mut fragment = ip4(b"hello");
        fragment[6] = 0x20;
        let mut other = ip4(b"hello");
        other[9] = 6;
        for frame in [fragment, other] {
            let file = classic_file(101, &[&frame], false);
            assert!(datagram(&frames(&file).frames[0]).is_none());
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>, link in 0u32..300, classic: bool) {
            let file = if classic { classic_file(link, &[&bytes], false) } else {
                [&block(SECTION, &BYTE_ORDER.to_le_bytes())[..], &bytes].concat()
            };
            for frame in frames(&file).frames.iter().chain(&frames(&bytes).frames) {
                let _ = datagram(frame);
            }
        }
    }
}
