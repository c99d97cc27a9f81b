//! A Go template of `--format`: it gives a text or an error, and comes to an end.
#![no_main]

// The command line is no library: these two files of it know of nothing else.
#[allow(dead_code)]
#[path = "../../crates/corten/src/fmt/functions.rs"]
mod functions;
#[allow(dead_code)]
#[path = "../../crates/corten/src/fmt/template.rs"]
mod template;

use gotmpl::Value;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::Arc;

fuzz_target!(|text: &str| {
    for template in [template::Template::parse(text), template::Template::parse_head(text)] {
        let said = match template {
            Ok(template) => template.execute(&data()),
            Err(error) => Err(error),
        };
        if let Err(error) = said {
            assert!(error.starts_with("template parsing error"), "{error:?}");
        }
    }
});

fn data() -> Value {
    let object = |fields: Vec<(&str, Value)>| {
        let fields = fields.into_iter().map(|(name, value)| (Arc::from(name), value));
        Value::Map(Arc::new(fields.collect::<BTreeMap<_, _>>()))
    };
    let labels = object(vec![("a", Value::String("b".into()))]);
    let list = Value::List(Arc::from(vec![Value::Int(1), Value::String("two".into()), Value::Nil]));
    object(vec![("Name", Value::String("box".into())), ("Labels", labels), ("List", list), ("Size", Value::Int(7))])
}
