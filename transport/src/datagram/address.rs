//! Socket addresses in the kernel's layout.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// An address of either family in the kernel's layout, small enough to keep one a datagram.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union RawAddress {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// The room that the kernel needs for an address of either family.
pub(super) const ADDRESS_BYTES: usize = size_of::<RawAddress>();

impl RawAddress {
    pub(super) const EMPTY: RawAddress = RawAddress {
        v6: libc::sockaddr_in6 {
            sin6_family: libc::AF_UNSPEC as libc::sa_family_t,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        },
    };

    /// Writes `address` and returns how many bytes of this are it.
    #[inline]
    pub(super) fn encode(&mut self, address: &SocketAddr) -> libc::socklen_t {
        match address {
            SocketAddr::V4(v4) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(v6) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                size_of::<libc::sockaddr_in6>() as libc::socklen_t
            }
        }
    }

    /// The address; unspecified when the kernel wrote none.
    #[inline]
    pub(super) fn decode(&self) -> SocketAddr {
        // SAFETY: both variants begin with the family, and every byte of the union is initialised: it starts as
        // EMPTY, and the kernel and `encode` only ever overwrite.
        match i32::from(unsafe { self.v4.sin_family }) {
            libc::AF_INET => {
                // SAFETY: as above; any bytes are a valid sockaddr_in.
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port))
            }
            libc::AF_INET6 => {
                // SAFETY: as above; any bytes are a valid sockaddr_in6.
                let v6 = unsafe { self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                SocketAddr::V6(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id))
            }
            _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_survives_the_kernels_layout() {
        for text in ["127.0.0.1:80", "255.1.2.3:65535", "[::1]:7", "[ff02::1%3]:9000"] {
            let address: SocketAddr = text.parse().expect("an address");
            let mut raw = RawAddress::EMPTY;
            let bytes = raw.encode(&address);
            assert_eq!(bytes as usize, if address.is_ipv4() { 16 } else { 28 });
            assert_eq!(raw.decode(), address);
        }
    }

    #[test]
    fn no_address_is_the_unspecified_one() {
        assert_eq!(RawAddress::EMPTY.decode(), "0.0.0.0:0".parse().expect("an address"));
    }
}
