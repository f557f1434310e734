//! What an Envelope says of the client whose request it forwards (KIP-590): the principal, as
//! Kafka's `DefaultKafkaPrincipalBuilder` writes it behind its version.

use crate::codec::{DecodeError, Decoded, Reader, Writer};
use crate::message::{Message, messages};

messages! {
    /// A principal.
    pub struct ForwardedPrincipal { versions: 0..=0, flexible: 0;
        /// Its type, such as "User".
        kind: String => 0+,
        /// Its name.
        name: String => 0+,
        /// Whether it came with a delegation token.
        token_authenticated: bool => 0+,
    }
}

impl ForwardedPrincipal {
    /// Reads a principal with its version.
    ///
    /// # Errors
    /// When the bytes are not one, or more than one.
    pub fn read(bytes: &[u8]) -> Decoded<ForwardedPrincipal> {
        let mut reader = Reader::new(bytes);
        let version = reader.i16()?;
        let principal = ForwardedPrincipal::decode(&mut reader, version)?;
        if reader.remaining() > 0 {
            return Err(DecodeError::TrailingBytes);
        }
        Ok(principal)
    }

    /// The principal with its version in front.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.i16(0);
        self.encode(&mut writer, 0);
        writer.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_read_as_kafka_writes_it() {
        let bytes = b"\0\0\x05User\x06alice\x01\0";
        let principal = ForwardedPrincipal {
            kind: "User".to_owned(),
            name: "alice".to_owned(),
            token_authenticated: true,
        };
        assert_eq!(ForwardedPrincipal::read(bytes), Ok(principal.clone()));
        assert_eq!(principal.to_bytes(), bytes);
        for len in 0..bytes.len() {
            assert!(ForwardedPrincipal::read(&bytes[..len]).is_err(), "{len}");
        }
        assert!(ForwardedPrincipal::read(b"\0\x01\x05User\x06alice\x01\0").is_err(), "version 1");
        assert!(ForwardedPrincipal::read(b"\0\0\x05User\x06alice\x01\0\0").is_err(), "more");
    }
}
