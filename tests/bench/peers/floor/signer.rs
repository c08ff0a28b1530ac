//! Signature version 4, by hand. The key is derived once a day.

use std::env;

use ring::{digest, hmac};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::route::Result;

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]");
const TIME: &[BorrowedFormatItem<'_>] = format_description!("[hour][minute][second]");

/// Signs the requests to DynamoDB.
pub(crate) struct Signer {
    pub(crate) host: String,
    region: String,
    key_id: String,
    secret: String,
    token: String,
    key: Option<(String, hmac::Key)>,
}

impl Signer {
    pub(crate) fn of_environment() -> Result<Self> {
        Ok(Self {
            host: env::var("AWS_ENDPOINT_URL_DYNAMODB")?.trim_start_matches("http://").to_owned(),
            region: env::var("AWS_REGION")?,
            key_id: env::var("AWS_ACCESS_KEY_ID")?,
            secret: env::var("AWS_SECRET_ACCESS_KEY")?,
            token: env::var("AWS_SESSION_TOKEN")?,
            key: None,
        })
    }

    /// The headers of a request.
    pub(crate) fn headers(&mut self, operation: &str, body: &[u8], now: OffsetDateTime) -> Result<[(&str, String); 5]> {
        const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
        let day = now.format(DAY)?;
        let instant = format!("{day}T{}Z", now.format(TIME)?);
        let target = format!("DynamoDB_20120810.{operation}");
        let hash = hex(digest::digest(&digest::SHA256, body).as_ref());
        let names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
        let canonical = format!(
            "POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{}\nx-amz-date:{instant}\n\
             x-amz-security-token:{}\nx-amz-target:{target}\n\n{names}\n{hash}",
            self.host, self.token
        );
        let scope = format!("{day}/{}/dynamodb/aws4_request", self.region);
        let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{instant}\n{scope}\n{canonical}");
        let signature = hex(hmac::sign(self.key(&day), text.as_bytes()).as_ref());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key_id
        );
        Ok([
            ("content-type", CONTENT_TYPE.to_owned()),
            ("x-amz-date", instant),
            ("x-amz-security-token", self.token.clone()),
            ("x-amz-target", target),
            ("authorization", authorization),
        ])
    }

    fn key(&mut self, day: &str) -> &hmac::Key {
        if self.key.as_ref().is_none_or(|(of, _)| of != day) {
            let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
            let secret = format!("AWS4{}", self.secret);
            let mut tag = sign(secret.as_bytes(), day);
            for part in [self.region.as_str(), "dynamodb", "aws4_request"] {
                tag = sign(tag.as_ref(), part);
            }
            self.key = Some((day.to_owned(), hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())));
        }
        match &self.key {
            Some((_, key)) => key,
            None => unreachable!("it was set above"),
        }
    }
}

/// `bytes` in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]].map(char::from))
        .collect()
}
