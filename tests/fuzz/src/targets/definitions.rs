//! What data managers write.

use clinical::document::DefinitionFault;
use clinical::fhir;
use clinical::forms::Form;
use clinical::instruments::Instrument;
use clinical::studies::Study;

pub(super) fn instrument(input: &[u8]) {
    read(input, |json| {
        let instrument = Instrument::parse(json)?;
        drop(fhir::questionnaire(&instrument, "en").to_string());
        Ok(())
    });
}

pub(super) fn study(input: &[u8]) {
    read(input, |json| Study::parse(json)?.with_instruments(&[], |_| true).map(drop));
}

pub(super) fn form(input: &[u8]) {
    read(input, |json| Form::parse(json).map(drop));
}

fn read(input: &[u8], parse: impl Fn(&str) -> Result<(), Vec<DefinitionFault>>) {
    let Ok(json) = std::str::from_utf8(input) else { return };
    if let Err(faults) = parse(json) {
        assert!(!faults.is_empty(), "it is refused without a fault");
        drop(faults.iter().map(ToString::to_string).collect::<String>());
    }
}
