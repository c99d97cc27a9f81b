//! Go's templates for `--format`. The parser and the executor are gotmpl's; the tree is rewritten between them, so that
//! a missing field of an object is an error while a missing key of a map is not, methods such as `.Label "x"` work, and
//! values are printed as Go prints them.

use super::functions;
use gotmpl::Value;
use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, Parser, PipeNode, Pos};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A parsed `--format`.
pub struct Template {
    inner: gotmpl::Template,
}

impl Template {
    /// Errors begin as Docker's do: `template parsing error: template: :1: …`.
    pub fn parse(text: &str) -> Result<Template, String> {
        Template::with(text, functions::values())
    }

    /// The same text for the head of a table, where functions leave the titles alone.
    pub fn parse_head(text: &str) -> Result<Template, String> {
        Template::with(text, functions::titles())
    }

    fn with(text: &str, functions: gotmpl::FuncMap) -> Result<Template, String> {
        let failed = |e: gotmpl::TemplateError| parse_error(&e);
        let (mut tree, defines) = Parser::new(text, "{{", "}}").and_then(Parser::parse).map_err(failed)?;
        ended(text)?;
        let rewriter = Rewriter { functions: &functions };
        rewriter.list(&mut tree)?;
        let mut trees = vec![(MAIN.to_owned(), tree)];
        for mut define in defines {
            rewriter.list(&mut define.body)?;
            trees.push((define.name.to_string(), define.body));
        }
        let mut inner = gotmpl::Template::new("").funcs(functions);
        for (name, tree) in trees {
            inner = inner.add_parse_tree(&name, tree);
        }
        Ok(Template { inner })
    }

    pub fn execute(&self, data: &Value) -> Result<String, String> {
        self.inner
            .execute_template_to_string(MAIN, data)
            .map_err(|e| format!("template parsing error: template: :1: executing \"\": {}", cause(&e)))
    }
}

/// The name of the whole text among its `{{define}}`s; a name that nobody can type.
const MAIN: &str = "\0main";

/// gotmpl's parser stops at an `{{end}}` too many, as if the text ended there; Go's does not.
fn ended(text: &str) -> Result<(), String> {
    let marked = format!("{text}{{{{0}}}}");
    let tree = Parser::new(&marked, "{{", "}}").and_then(Parser::parse).map(|(tree, _)| tree);
    match tree.as_ref().map(|tree| tree.nodes.last()) {
        Ok(Some(Node::Action(last))) if last.pos.offset >= text.len() => Ok(()),
        _ => Err("template parsing error: template: :1: unexpected {{end}}".to_owned()),
    }
}

fn parse_error(error: &gotmpl::TemplateError) -> String {
    match error {
        gotmpl::TemplateError::Parse { line, message, .. }
        | gotmpl::TemplateError::Lex { line, message, .. } => {
            format!("template parsing error: template: :{line}: {message}")
        }
        other => format!("template parsing error: {other}"),
    }
}

fn cause(error: &gotmpl::TemplateError) -> String {
    match error {
        gotmpl::TemplateError::Exec(message) => message.clone(),
        other => other.to_string(),
    }
}

struct Rewriter<'a> {
    functions: &'a gotmpl::FuncMap,
}

type Outcome = Result<(), String>;

impl Rewriter<'_> {
    fn list(&self, list: &mut ListNode) -> Outcome {
        list.nodes.iter_mut().try_for_each(|node| self.node(node))
    }

    fn node(&self, node: &mut Node) -> Outcome {
        match node {
            Node::List(list) => self.list(list),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
            Node::Action(action) => {
                let prints = action.pipe.decl.is_empty();
                let name = last_field(&action.pipe);
                self.pipe(&mut action.pipe)?;
                if prints {
                    let show = vec![identifier(action.pos, functions::SHOW), text(action.pos, &name)];
                    action.pipe.commands.push(CommandNode { pos: action.pos, args: show });
                }
                Ok(())
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.branch(branch),
            Node::Template(template) => template.pipe.as_mut().map_or(Ok(()), |pipe| self.pipe(pipe)),
            Node::Define(define) => self.list(&mut define.body),
        }
    }

    fn branch(&self, branch: &mut BranchNode) -> Outcome {
        self.pipe(&mut branch.pipe)?;
        self.list(&mut branch.body)?;
        branch.else_body.as_mut().map_or(Ok(()), |body| self.list(body))
    }

    fn pipe(&self, pipe: &mut PipeNode) -> Outcome {
        let mut commands = Vec::with_capacity(pipe.commands.len());
        for mut command in std::mem::take(&mut pipe.commands) {
            let pos = command.pos;
            let formats = matches!(command.args.first(), Some(Expr::Identifier(_, name)) if FORMATS.contains(&name.as_str()));
            if formats && !commands.is_empty() {
                commands.push(CommandNode { pos, args: vec![identifier(pos, functions::PLAIN)] });
            }
            self.command(&mut command, formats)?;
            commands.push(command);
        }
        pipe.commands = commands;
        Ok(())
    }

    fn command(&self, command: &mut CommandNode, formats: bool) -> Outcome {
        for arg in &mut command.args {
            self.expr(arg)?;
        }
        let pos = command.pos;
        if formats {
            let is_printf =
                matches!(&command.args[0], Expr::Identifier(_, name) if name.as_str() == "printf");
            for (number, arg) in command.args.iter_mut().enumerate().skip(1) {
                let function = if is_printf && number == 1 { functions::FORMAT } else { functions::PLAIN };
                *arg = call(pos, function, vec![std::mem::replace(arg, Expr::Nil(pos))]);
            }
        }
        // `.Label "x"`: what the field gives is called.
        let is_field =
            matches!(command.args.first(), Some(Expr::Pipe(_, pipe)) if calls(pipe, functions::FIELD));
        if is_field && command.args.len() > 1 {
            command.args.insert(0, identifier(pos, "call"));
        }
        Ok(())
    }

    fn expr(&self, expr: &mut Expr) -> Outcome {
        let (pos, from, fields) = match expr {
            Expr::Field(pos, fields) => (*pos, Expr::Dot(*pos), std::mem::take(fields)),
            Expr::Variable(pos, name, fields) if !fields.is_empty() => {
                (*pos, Expr::Variable(*pos, name.clone(), Vec::new()), std::mem::take(fields))
            }
            Expr::Chain(pos, inner, fields) => {
                self.expr(inner)?;
                let inner = std::mem::replace(&mut **inner, Expr::Nil(*pos));
                (*pos, inner, std::mem::take(fields))
            }
            Expr::Pipe(_, pipe) => return self.pipe(pipe),
            Expr::Identifier(pos, name) if !self.knows(name) => {
                return Err(format!(
                    "template parsing error: template: :{}: function \"{name}\" not defined",
                    pos.line
                ));
            }
            _ => return Ok(()),
        };
        let names = fields.iter().map(|field| text(pos, field));
        *expr = call(pos, functions::FIELD, std::iter::once(from).chain(names).collect());
        Ok(())
    }

    fn knows(&self, name: &str) -> bool {
        self.functions.contains_key(name) || BUILT_IN.contains(&name)
    }
}

/// gotmpl's own functions that put values into text.
const FORMATS: &[&str] = &["printf", "html", "js", "urlquery"];
const BUILT_IN: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print",
    "printf", "println", "slice", "urlquery", "break", "continue",
];

/// The last name of `{{.A.B}}`, by which an absent value is printed as its kind.
fn last_field(pipe: &PipeNode) -> String {
    match pipe.commands.as_slice() {
        [CommandNode { args, .. }] => match args.as_slice() {
            [Expr::Field(_, names) | Expr::Variable(_, _, names) | Expr::Chain(_, _, names)] => {
                names.last().map(|name| name.to_string()).unwrap_or_default()
            }
            _ => String::new(),
        },
        _ => String::new(),
    }
}

fn identifier(pos: Pos, name: &str) -> Expr {
    Expr::Identifier(pos, name.into())
}

fn text(pos: Pos, text: &str) -> Expr {
    Expr::String(pos, Arc::from(text))
}

fn call(pos: Pos, function: &str, mut args: Vec<Expr>) -> Expr {
    args.insert(0, identifier(pos, function));
    let command = CommandNode { pos, args };
    Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands: vec![command], is_assign: false })
}

fn calls(pipe: &PipeNode, function: &str) -> bool {
    matches!(pipe.commands.first().and_then(|c| c.args.first()), Some(Expr::Identifier(_, name)) if name == function)
}

/// JSON as template data. Objects keep the order of their fields; those whose keys all look like Go's field names are
/// objects, others are maps.
pub fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Value::Int(n),
            (None, Some(n)) => Value::Uint(n),
            (None, None) => Value::Float(n.as_f64().unwrap_or(0.0)),
        },
        serde_json::Value::String(s) => Value::String(Arc::from(s.as_str())),
        serde_json::Value::Array(list) => Value::List(list.iter().map(from_json).collect()),
        serde_json::Value::Object(map) => {
            let entries = map.iter().map(|(k, v)| (k.as_str(), from_json(v)));
            let is_object =
                !map.is_empty() && map.keys().all(|k| k.starts_with(|c: char| c.is_ascii_uppercase()));
            if is_object {
                object(entries)
            } else {
                Value::Map(Arc::new(entries.map(|(k, v)| (Arc::from(k), v)).collect()))
            }
        }
    }
}

/// A Go struct: a field that it doesn't have is an error.
pub fn object<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> Value {
    let mut order: Vec<Value> = Vec::new();
    let mut map: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    for (key, value) in entries {
        let key: Arc<str> = Arc::from(key);
        order.push(Value::String(key.clone()));
        map.insert(key, value);
    }
    map.insert(Arc::from(functions::ORDER), Value::List(order.into()));
    Value::Map(Arc::new(map))
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
