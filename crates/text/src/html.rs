//! The text of an HTML document: a browser's parser, and the text nodes of the tree it builds.

use std::borrow::Cow;
use std::cell::RefCell;

use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::tokenizer::TokenizerOpts;
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeBuilderOpts, TreeSink};
use html5ever::{
    Attribute, ExpandedName, LocalName, Namespace, ParseOpts, QualName, expanded_name, local_name,
    ns,
};

/// The text nodes of the document `html`, in order and without anything between them. The texts of
/// titles, scripts and styles count; comments and the contents of templates do not.
#[must_use]
pub fn document_text(html: &str) -> Cow<'_, str> {
    if memchr::memchr3(b'<', b'&', b'\r', html.as_bytes()).is_none() && !html.contains('\0') {
        // All of it is one text in the body, and white space before it is not part of the body.
        return Cow::Borrowed(html.trim_start_matches(['\t', '\n', '\u{c}', ' ']));
    }
    Cow::Owned(parsed_text(html))
}

/// The plain version of [`document_text`].
fn parsed_text(html: &str) -> String {
    let options = ParseOpts {
        tokenizer: TokenizerOpts {
            discard_bom: false,
            ..TokenizerOpts::default()
        },
        tree_builder: TreeBuilderOpts {
            scripting_enabled: false,
            ..TreeBuilderOpts::default()
        },
    };
    html5ever::parse_document(Tree::new(), options).one(html)
}

type Id = usize;

const DOCUMENT: Id = 0;

/// What a node is, as far as its text and the parser's questions need.
enum Kind {
    /// The document, and the contents of a template.
    Root,
    Element {
        name: QualName,
        /// The root of a template's contents.
        contents: Option<Id>,
        is_integration_point: bool,
    },
    Text(StrTendril),
    /// A comment or the like.
    Other,
}

struct Node {
    kind: Kind,
    parent: Option<Id>,
    children: Vec<Id>,
}

/// A tree of nodes that are numbered as they are made.
struct Tree {
    nodes: RefCell<Vec<Node>>,
}

/// An element's name, on loan from the tree. Cloned, since the tree may grow meanwhile.
#[derive(Debug)]
struct Name(QualName);

impl html5ever::interface::ElemName for Name {
    fn ns(&self) -> &Namespace {
        &self.0.ns
    }

    fn local_name(&self) -> &LocalName {
        &self.0.local
    }
}

impl Tree {
    fn new() -> Self {
        let document = Node {
            kind: Kind::Root,
            parent: None,
            children: Vec::new(),
        };
        Self {
            nodes: RefCell::new(vec![document]),
        }
    }

    fn add(&self, kind: Kind) -> Id {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node {
            kind,
            parent: None,
            children: Vec::new(),
        });
        nodes.len() - 1
    }

    fn read<T>(&self, id: Id, read: impl FnOnce(&Node) -> T) -> Option<T> {
        self.nodes.borrow().get(id).map(read)
    }

    fn detach(&self, id: Id) {
        let mut nodes = self.nodes.borrow_mut();
        let Some(parent) = nodes.get_mut(id).and_then(|node| node.parent.take()) else {
            return;
        };
        if let Some(parent) = nodes.get_mut(parent) {
            // The last child is the usual one to go.
            if let Some(at) = parent.children.iter().rposition(|&child| child == id) {
                parent.children.remove(at);
            }
        }
    }

    /// Puts `child` into `parent`, before its child number `at`, or after all of them.
    fn insert(&self, parent: Id, at: Option<usize>, child: NodeOrText<Id>) {
        let at = at
            .or_else(|| self.read(parent, |node| node.children.len()))
            .unwrap_or_default();
        let child = match child {
            NodeOrText::AppendNode(child) => child,
            NodeOrText::AppendText(text) => {
                if self.extend_text(parent, at, &text) {
                    return;
                }
                self.add(Kind::Text(text))
            }
        };
        let mut nodes = self.nodes.borrow_mut();
        if let Some(node) = nodes.get_mut(child) {
            node.parent = Some(parent);
        }
        if let Some(node) = nodes.get_mut(parent) {
            let at = at.min(node.children.len());
            node.children.insert(at, child);
        }
    }

    /// Adds to a text right before the place, as the tree never has two texts in a row.
    fn extend_text(&self, parent: Id, at: usize, text: &StrTendril) -> bool {
        let mut nodes = self.nodes.borrow_mut();
        let before = at
            .checked_sub(1)
            .and_then(|at| nodes.get(parent)?.children.get(at).copied());
        match before.and_then(|before| nodes.get_mut(before)) {
            Some(Node {
                kind: Kind::Text(existing),
                ..
            }) => {
                existing.push_tendril(text);
                true
            }
            _ => false,
        }
    }

    /// All texts below the document.
    fn text(&self) -> String {
        let nodes = self.nodes.borrow();
        let mut out = String::new();
        let mut pending = vec![DOCUMENT];
        while let Some(node) = pending.pop().and_then(|id| nodes.get(id)) {
            if let Kind::Text(text) = &node.kind {
                out.push_str(text);
            }
            pending.extend(node.children.iter().rev());
        }
        out
    }
}

impl TreeSink for Tree {
    type Handle = Id;
    type Output = String;
    type ElemName<'a> = Name;

    fn finish(self) -> String {
        self.text()
    }

    fn parse_error(&self, _message: Cow<'static, str>) {}

    fn get_document(&self) -> Id {
        DOCUMENT
    }

    fn elem_name<'a>(&'a self, target: &'a Id) -> Name {
        let name = self.read(*target, |node| match &node.kind {
            Kind::Element { name, .. } => Some(name.clone()),
            _ => None,
        });
        Name(
            name.flatten()
                .unwrap_or_else(|| QualName::new(None, ns!(), local_name!(""))),
        )
    }

    fn create_element(&self, name: QualName, attrs: Vec<Attribute>, flags: ElementFlags) -> Id {
        let contents = flags.template.then(|| self.add(Kind::Root));
        let expanded: ExpandedName = name.expanded();
        let is_integration_point = flags.mathml_annotation_xml_integration_point
            || (expanded == expanded_name!(mathml "annotation-xml")
                && attrs.iter().any(is_html_encoding));
        self.add(Kind::Element {
            name,
            contents,
            is_integration_point,
        })
    }

    fn create_comment(&self, _text: StrTendril) -> Id {
        self.add(Kind::Other)
    }

    fn create_pi(&self, _target: StrTendril, _data: StrTendril) -> Id {
        self.add(Kind::Other)
    }

    fn append(&self, parent: &Id, child: NodeOrText<Id>) {
        self.insert(*parent, None, child);
    }

    fn append_based_on_parent_node(&self, element: &Id, previous: &Id, child: NodeOrText<Id>) {
        if self.read(*element, |node| node.parent.is_some()) == Some(true) {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Id) -> Id {
        self.read(*target, |node| match node.kind {
            Kind::Element {
                contents: Some(contents),
                ..
            } => contents,
            _ => *target,
        })
        .unwrap_or(*target)
    }

    fn same_node(&self, x: &Id, y: &Id) -> bool {
        x == y
    }

    fn set_quirks_mode(&self, _mode: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Id, child: NodeOrText<Id>) {
        if let NodeOrText::AppendNode(child) = &child {
            self.detach(*child);
        }
        let Some(parent) = self.read(*sibling, |node| node.parent).flatten() else {
            return;
        };
        let at = self
            .read(parent, |node| {
                node.children.iter().rposition(|id| id == sibling)
            })
            .flatten();
        self.insert(parent, at, child);
    }

    fn add_attrs_if_missing(&self, _target: &Id, _attrs: Vec<Attribute>) {}

    fn remove_from_parent(&self, target: &Id) {
        self.detach(*target);
    }

    fn reparent_children(&self, node: &Id, new_parent: &Id) {
        let mut nodes = self.nodes.borrow_mut();
        let children = nodes
            .get_mut(*node)
            .map(|node| std::mem::take(&mut node.children))
            .unwrap_or_default();
        for &child in &children {
            if let Some(child) = nodes.get_mut(child) {
                child.parent = Some(*new_parent);
            }
        }
        if let Some(new_parent) = nodes.get_mut(*new_parent) {
            new_parent.children.extend(children);
        }
    }

    fn is_mathml_annotation_xml_integration_point(&self, handle: &Id) -> bool {
        self.read(*handle, |node| match node.kind {
            Kind::Element {
                is_integration_point,
                ..
            } => is_integration_point,
            _ => false,
        })
        .unwrap_or(false)
    }

    fn allow_declarative_shadow_roots(&self, _intended_parent: &Id) -> bool {
        false
    }
}

fn is_html_encoding(attribute: &Attribute) -> bool {
    attribute.name.local == local_name!("encoding")
        && (attribute.value.eq_ignore_ascii_case("text/html")
            || attribute
                .value
                .eq_ignore_ascii_case("application/xhtml+xml"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(html: &str, expected: &str) {
        assert_eq!(document_text(html), expected, "{html:?}");
    }

    #[test]
    fn texts_are_joined() {
        check("<p>a<b>b</b>\n<!-- c -->d", "ab\nd");
        check(
            "<title>t</title><script>s</script><style>c</style>x",
            "tscx",
        );
        check("<template>a</template><noscript>b</noscript>", "b");
        check(" \n a &amp; b ", "a & b ");
    }

    #[test]
    fn misnested_tables_move_their_text() {
        check("<table>x<tr><td>y</table>", "xy");
        check("<table><tr><td>y</td>x</tr></table>", "xy");
    }

    proptest! {
        #[test]
        fn text_without_markup_is_as_the_parser_sees_it(text in "[ a-z\t\n\u{c}\u{feff}é\u{0}\u{1}\u{a0}]{0,20}") {
            prop_assert_eq!(document_text(&text), parsed_text(&text));
        }
    }
}
