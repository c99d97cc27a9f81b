//! What `ps` and `images` share: a table by default, or what `--format` asks for.

use super::table;
use super::template::{Template, object};
use gotmpl::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One line of a list.
pub trait Row {
    /// The text of a field; fields are those of [`Shape::titles`].
    fn cell(&self, field: &str) -> String;

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// The fields of a list, and how it looks by default.
pub struct Shape<'a> {
    /// Field and title, in the order of `{{json .}}`.
    pub titles: &'a [(&'static str, &'static str)],
    /// The fields of the table.
    pub columns: &'a [&'static str],
}

/// `format` is `--format` as typed: nothing, `table`, `table …`, `json`, or a template.
pub fn render(shape: &Shape, rows: &[impl Row], format: Option<&str>) -> Result<String, String> {
    let format = format.unwrap_or("table");
    if format == "table" || format.is_empty() {
        let title = |field: &&str| {
            shape.titles.iter().find(|(name, _)| name == field).map(|(_, title)| (*title).to_owned())
        };
        let mut lines: Vec<Vec<String>> = vec![shape.columns.iter().filter_map(title).collect()];
        lines.extend(rows.iter().map(|row| shape.columns.iter().map(|field| row.cell(field)).collect()));
        return Ok(table::columns(&lines));
    }
    let is_table = format.starts_with("table");
    let text = if format == "json" { "{{json .}}" } else { format.strip_prefix("table").unwrap_or(format) };
    let text = text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
    let template = Template::parse(&text)?;
    let mut out = String::new();
    if is_table {
        let titles = shape.titles.iter().map(|(field, title)| (*field, Value::String(Arc::from(*title))));
        let label: gotmpl::ValueFunc = Arc::new(|args: &[Value]| {
            // Docker titles a label's column with the last part of its name.
            let name = args.first().map(Value::to_string).unwrap_or_default();
            let last = name.rsplit('.').next().unwrap_or(&name).replace(['-', '_'], " ");
            Ok(Value::String(Arc::from(last.as_str())))
        });
        let titles = object(titles.chain([("Label", Value::Function(label))]));
        out.push_str(&Template::parse_head(&text)?.execute(&titles)?);
        out.push('\n');
    }
    for row in rows {
        out.push_str(&template.execute(&row_object(shape, row, &text))?);
        out.push('\n');
    }
    Ok(if is_table { table::align(&out, 10, 3) } else { out })
}

/// The row as template data. Fields that the template can't mean are not worked out.
fn row_object(shape: &Shape, row: &impl Row, template: &str) -> Value {
    let whole = template.contains("json") || template.contains("{{.}}") || template.contains("with");
    let fields = shape.titles.iter().map(|(field, _)| {
        let wanted = whole || template.contains(field);
        (*field, Value::String(if wanted { Arc::from(row.cell(field)) } else { Arc::from("") }))
    });
    let labels = row.labels();
    let label: gotmpl::ValueFunc = Arc::new(move |args: &[Value]| {
        let name = args.first().and_then(Value::as_str).unwrap_or_default();
        Ok(Value::String(Arc::from(labels.get(name).map_or("", String::as_str))))
    });
    object(fields.chain([("Label", Value::Function(label))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair(&'static str, &'static str);

    impl Row for Pair {
        fn cell(&self, field: &str) -> String {
            if field == "ID" { self.0.to_owned() } else { self.1.to_owned() }
        }

        fn labels(&self) -> BTreeMap<String, String> {
            BTreeMap::from([("com.example.some-thing".to_owned(), self.1.to_uppercase())])
        }
    }

    fn list(format: Option<&str>) -> Result<String, String> {
        let shape =
            Shape { titles: &[("ID", "CONTAINER ID"), ("Names", "NAMES")], columns: &["ID", "Names"] };
        render(&shape, &[Pair("4cdf", "web"), Pair("a1b2", "a longer name")], format)
    }

    #[test]
    fn formats() {
        insta::assert_snapshot!(list(None).unwrap(), @r"
        CONTAINER ID   NAMES
        4cdf           web
        a1b2           a longer name
        ");
        insta::assert_snapshot!(list(Some("table {{.Names}}\\t{{upper .ID}}")).unwrap(), @r"
        NAMES           CONTAINER ID
        web             4CDF
        a longer name   A1B2
        ");
        insta::assert_snapshot!(list(Some("table {{.ID}}\\t{{.Label \"com.example.some-thing\"}}")).unwrap(), @r"
        CONTAINER ID   some thing
        4cdf           WEB
        a1b2           A LONGER NAME
        ");
        insta::assert_snapshot!(list(Some("json")).unwrap(), @r#"
        {"ID":"4cdf","Names":"web"}
        {"ID":"a1b2","Names":"a longer name"}
        "#);
        assert_eq!(list(Some("{{.ID}}\\n{{.Names}}")).unwrap(), "4cdf\nweb\na1b2\na longer name\n");
        assert!(list(Some("{{.Nope}}")).unwrap_err().starts_with("template parsing error: "));
    }
}
