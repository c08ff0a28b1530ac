//! The root certificates that the functions trust.
//!
//! A function reaches two services, whose certificates Amazon Trust Services issues. To read the 140 roots of Lambda's
//! image takes longer than the rest of a start, so Amazon's are compiled in, and others are read only where they may be
//! needed.

use std::path::Path;

use aws_smithy_http_client::tls::{TlsContext, TrustStore};

use crate::Environment;

/// The five roots that Amazon Trust Services recommends for trust stores: <https://www.amazontrust.com/repository>.
const AMAZON: &str = include_str!("amazon_roots.pem");
/// What names root certificates in place of the machine's own.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SNS"];
/// The second part of a region's name, in the partition that everybody uses: `us-east-1`, but not `us-gov-east-1`.
const DIRECTIONS: [&str; 9] =
    ["central", "east", "north", "northeast", "northwest", "south", "southeast", "southwest", "west"];

/// The trust of a function in `environment`.
pub(super) fn trusted(environment: &Environment) -> TlsContext {
    let named = || CERTIFICATES.iter().filter_map(|name| Some((*name, Path::new(environment.optional(name)?))));
    for (variable, _) in named().filter(|(_, path)| !path.exists()) {
        tracing::error!(event = "certificates_missing", what = variable);
    }
    // Where nothing that is named exists, there is nothing else to read either.
    let is_missing = named().next().is_some() && !named().any(|(_, path)| path.exists());
    context(needs_others(environment) && !is_missing)
}

/// Amazon's roots, and with `others` those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, or else the machine's own.
pub(super) fn context(others: bool) -> TlsContext {
    let roots = TrustStore::empty().with_pem_certificate(AMAZON).with_native_roots(others);
    TlsContext::builder().with_trust_store(roots).build().expect("a trust store is complete")
}

/// Whether certificates may have another root than Amazon's: the environment names roots (of a proxy that inspects TLS,
/// for example), an endpoint is somebody's own, or the region's partition has another authority.
fn needs_others(environment: &Environment) -> bool {
    let is_set = |name: &&str| environment.optional(name).is_some();
    let is_https = |name: &&str| environment.optional(name).is_some_and(|url| !url.starts_with("http://"));
    CERTIFICATES.iter().any(is_set)
        || ENDPOINTS.iter().any(is_https)
        || !environment.optional("AWS_REGION").is_some_and(is_of_common_partition)
}

fn is_of_common_partition(region: &str) -> bool {
    let mut parts = region.split('-');
    parts.next().is_some_and(|area| area != "cn") && parts.next().is_some_and(|part| DIRECTIONS.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_trusted_where_they_may_be_needed_and_nowhere_else() {
        let own = "https://dynamodb.example.org";
        for (variables, expected) in [
            (vec![("AWS_REGION", "eu-central-1")], false),
            (vec![("AWS_REGION", "ap-southeast-7")], false),
            (vec![("AWS_REGION", "eu-central-1"), ("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:4566")], false),
            (vec![("AWS_REGION", "eu-central-1"), ("SSL_CERT_FILE", "/opt/roots.pem")], true),
            (vec![("AWS_REGION", "eu-central-1"), ("SSL_CERT_DIR", "/opt/roots")], true),
            (vec![("AWS_REGION", "eu-central-1"), ("AWS_ENDPOINT_URL_DYNAMODB", own)], true),
            (vec![("AWS_REGION", "eu-central-1"), ("AWS_ENDPOINT_URL_SNS", own)], true),
            (vec![("AWS_REGION", "cn-north-1")], true),
            (vec![("AWS_REGION", "us-gov-west-1")], true),
            (vec![("AWS_REGION", "us-iso-east-1")], true),
            (vec![("AWS_REGION", "eusc-de-east-1")], true),
            (vec![], true),
        ] {
            assert_eq!(needs_others(&Environment::from_iter(variables.clone())), expected, "{variables:?}");
        }
    }
}
