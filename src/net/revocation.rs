//! Reading lists of revoked certificates (RFC 5280, 5).
//!
//! A list is only believed when the issuer of the certificate in question has signed it, when it speaks of all that this issuer
//! has issued to servers, and when it holds nothing critical that is not understood here.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::{DistributionPointName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_CRL_NUMBER,
    OID_X509_EXT_ISSUER_DISTRIBUTION_POINT, OID_X509_EXT_REASON_CODE,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

use crate::model::Timestamp;

/// What a list says of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// When the list was made.
    pub this_update: Timestamp,
    /// Until when there will be another one; `None`: it does not say.
    pub next_update: Option<Timestamp>,
    /// Since when the certificate is revoked, and why in one word of RFC 5280; `None`: it is not.
    pub revoked: Option<(Timestamp, String)>,
}

/// Why a list is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Neither DER nor PEM of one.
    #[error("it is no list of revoked certificates")]
    Unreadable,
    /// Of another issuer than the certificate.
    #[error("it is of another issuer")]
    Issuer,
    /// The issuer may not sign lists.
    #[error("the issuer's certificate does not allow it to sign lists")]
    Usage,
    /// Not signed by the issuer, or in a way that is not known here.
    #[error("its signature is not the issuer's")]
    Signature,
    /// Only of some certificates, of which this is none, or of some reasons.
    #[error("it does not speak of this certificate, or not of every reason")]
    Partial,
    /// It holds something that must be understood.
    #[error("it holds the critical extension {0}, which is not known here")]
    Critical(String),
}

/// Reads `list`, DER or PEM, and looks `leaf` up in it, which `issuer` has issued.
///
/// # Errors
/// When it is not believed.
pub fn look_up(
    list: &[u8],
    leaf: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
) -> Result<Listed, ListError> {
    let from_pem = CertificateRevocationListDer::from_pem_slice(list).ok();
    let der = from_pem.as_ref().map_or(list, AsRef::as_ref);
    let (rest, list) =
        CertificateRevocationList::from_der(der).map_err(|_unreadable| ListError::Unreadable)?;
    if !rest.is_empty() {
        return Err(ListError::Unreadable);
    }
    let certificate = |der| X509Certificate::from_der(der).map(|(_, it)| it);
    let leaf = certificate(leaf).map_err(|_unreadable| ListError::Issuer)?;
    let issuer = certificate(issuer).map_err(|_unreadable| ListError::Issuer)?;
    if list.issuer().as_raw() != issuer.subject().as_raw()
        || leaf.issuer().as_raw() != issuer.subject().as_raw()
    {
        return Err(ListError::Issuer);
    }
    if let Ok(Some(usage)) = issuer.key_usage()
        && !usage.value.crl_sign()
    {
        return Err(ListError::Usage);
    }
    list.verify_signature(issuer.public_key())
        .map_err(|_unreadable| ListError::Signature)?;
    for extension in list.extensions() {
        understand(extension, &leaf)?;
    }
    let mut found = list
        .iter_revoked_certificates()
        .filter(|entry| entry.raw_serial() == leaf.raw_serial());
    let revoked = found.next().map(|entry| {
        let code = entry.reason_code().map(|(_, code)| code.to_string());
        let reason = code.unwrap_or_else(|| "Unspecified".to_owned());
        (at(entry.revocation_date), reason)
    });
    if let Some(unknown) = list
        .iter_revoked_certificates()
        .flat_map(x509_parser::revocation_list::RevokedCertificate::extensions)
        .find(|it| it.critical && it.oid != OID_X509_EXT_REASON_CODE)
    {
        // Of another issuer's certificate, perhaps.
        return Err(ListError::Critical(unknown.oid.to_id_string()));
    }
    Ok(Listed {
        this_update: at(list.last_update()),
        next_update: list.next_update().map(at),
        revoked,
    })
}

fn understand(extension: &X509Extension<'_>, leaf: &X509Certificate<'_>) -> Result<(), ListError> {
    if let ParsedExtension::IssuingDistributionPoint(scope) = extension.parsed_extension() {
        let is_partial = scope.only_contains_ca_certs
            || scope.only_contains_attribute_certs
            || scope.indirect_crl
            || scope.only_some_reasons.is_some()
            || scope
                .distribution_point
                .as_ref()
                .is_some_and(|it| !is_named(it, leaf));
        return if is_partial {
            Err(ListError::Partial)
        } else {
            Ok(())
        };
    }
    let known = [
        OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
        OID_X509_EXT_CRL_NUMBER,
        OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
    ];
    if extension.critical && !known.contains(&extension.oid) {
        // One that only says what has changed is among them.
        return Err(ListError::Critical(extension.oid.to_id_string()));
    }
    Ok(())
}

/// Whether a part of an issuer's list is the one that the certificate names: an issuer may spread its list over several (RFC
/// 5280, 6.3.3 (b)(2)(i)).
fn is_named(part: &DistributionPointName<'_>, leaf: &X509Certificate<'_>) -> bool {
    let DistributionPointName::FullName(part) = part else {
        return false;
    };
    let mut named = leaf
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => Some(points.points.iter()),
            _ => None,
        })
        .flatten()
        .filter_map(|point| match point.distribution_point.as_ref()? {
            DistributionPointName::FullName(names) => Some(names),
            DistributionPointName::NameRelativeToCRLIssuer(_) => None,
        });
    named.any(|names| names.iter().any(|name| part.contains(name)))
}

fn at(time: ASN1Time) -> Timestamp {
    Timestamp::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// The certificate among `known` that issued `leaf`, by its name.
pub fn issuer_of<'a>(
    leaf: &CertificateDer<'_>,
    known: &'a [CertificateDer<'static>],
) -> Option<&'a CertificateDer<'static>> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    known.iter().find(|other| {
        let other = X509Certificate::from_der(other);
        other.is_ok_and(|(_, other)| {
            other.subject().as_raw() == leaf.issuer().as_raw()
                && leaf.verify_signature(Some(other.public_key())).is_ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
        date_time_ymd,
    };

    use super::*;

    struct Made {
        own: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority(name: &str, usages: &[KeyUsagePurpose]) -> Made {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages.to_vec();
        let key = KeyPair::generate().unwrap();
        Made {
            own: params.self_signed(&key).unwrap().der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn leaf(of: &Made, serial: u64) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["shop.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &of.issuer).unwrap().der().clone()
    }

    fn list(of: &Made, serials: &[u64]) -> Vec<u8> {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 1, 8),
            crl_number: SerialNumber::from(7),
            issuing_distribution_point: None,
            revoked_certs: serials
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(*serial),
                    revocation_time: date_time_ymd(2025, 12, 31),
                    reason_code: Some(RevocationReason::KeyCompromise),
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&of.issuer).unwrap().der().to_vec()
    }

    const SIGNS: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

    #[test]
    fn a_list_tells_of_a_certificate_whether_it_is_revoked_and_until_when_it_holds() {
        let ca = authority("ca", &SIGNS);
        let (mine, other) = (leaf(&ca, 17), leaf(&ca, 18));
        let list = list(&ca, &[3, 17]);
        let found = look_up(&list, &mine, &ca.own).unwrap();
        assert_eq!(
            found.next_update.unwrap().to_string(),
            "2026-01-08T00:00:00.000Z"
        );
        let (since, reason) = found.revoked.unwrap();
        assert_eq!(since.to_string(), "2025-12-31T00:00:00.000Z");
        assert_eq!(reason, "KeyCompromise");
        assert_eq!(look_up(&list, &other, &ca.own).unwrap().revoked, None);
        let pem = pem::encode(&list);
        assert!(
            look_up(pem.as_bytes(), &mine, &ca.own)
                .unwrap()
                .revoked
                .is_some()
        );
    }

    #[test]
    fn a_list_is_only_believed_when_the_issuer_has_signed_it() {
        let ca = authority("ca", &SIGNS);
        let mine = leaf(&ca, 17);
        let good = list(&ca, &[17]);
        let mut forged = good.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let imposter = authority("ca", &SIGNS);
        let another = authority("another", &SIGNS);
        let unable = authority("ca", &[KeyUsagePurpose::KeyCertSign]);
        for (list, issuer, error) in [
            (&forged, &ca, ListError::Signature),
            (&list(&imposter, &[17]), &ca, ListError::Signature),
            (&list(&another, &[17]), &ca, ListError::Issuer),
            (&b"nothing".to_vec(), &ca, ListError::Unreadable),
            (&good, &unable, ListError::Usage),
        ] {
            assert_eq!(look_up(list, &mine, &issuer.own), Err(error));
        }
        assert_eq!(
            issuer_of(&mine, &[another.own, imposter.own, ca.own.clone()]),
            Some(&ca.own)
        );
    }

    mod pem {
        use base64::Engine as _;

        pub(super) fn encode(der: &[u8]) -> String {
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
        }
    }
}
