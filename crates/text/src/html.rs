//! The text of an HTML document: a browser's parser, and the text nodes of the tree it builds.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

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
    if !has_markup(html.as_bytes()) {
        // All of it is one text in the body, and white space before it is not part of the body.
        return Cow::Borrowed(html.trim_start_matches(['\t', '\n', '\u{c}', ' ']));
    }
    Cow::Owned(parsed_text(html))
}

/// Whether a parser could see anything but text. What follows a `<` makes it the beginning of a tag
/// or a comment: behind others, as in the special tokens of images, it is text.
fn has_markup(html: &[u8]) -> bool {
    let is_tag = |at: usize| {
        let next = html.get(at + 1);
        next.is_some_and(|next| next.is_ascii_alphabetic() || b"/!?".contains(next))
    };
    memchr::memchr3(b'&', b'\r', 0, html).is_some() || memchr::memchr_iter(b'<', html).any(is_tag)
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
        choice: Choice,
    },
    Text(StrTendril),
    /// A comment or the like.
    Other,
}

/// What the attributes of an `option` or a `select` say of what is chosen.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute")]
struct Choice {
    /// An option with `selected`.
    selected: bool,
    /// An option with `disabled`: none is chosen by default.
    disabled: bool,
    /// A select with `multiple`.
    multiple: bool,
    /// A select that shows another number of lines than one: none is chosen by default.
    is_list: bool,
}

impl Choice {
    fn of(attributes: &[Attribute]) -> Self {
        let mut choice = Self::default();
        for attribute in attributes {
            match &*attribute.name.local {
                "selected" => choice.selected = true,
                "disabled" => choice.disabled = true,
                "multiple" => choice.multiple = true,
                "size" => choice.is_list = is_list(&attribute.value),
                _ => {}
            }
        }
        choice
    }
}

/// Whether a `size` is a number, by the leniency of browsers, and not 1.
fn is_list(size: &str) -> bool {
    let size = size.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    let size = size.strip_prefix('+').unwrap_or(size);
    let end = size.find(|c: char| !c.is_ascii_digit());
    let digits = size.get(..end.unwrap_or(size.len())).unwrap_or_default();
    !digits.is_empty() && digits.trim_start_matches('0') != "1"
}

struct Node {
    kind: Kind,
    parent: Option<Id>,
    children: Vec<Id>,
}

/// A tree of nodes that are numbered as they are made.
struct Tree {
    nodes: RefCell<Vec<Node>>,
    /// Whether a `selectedcontent` was met, which few documents have.
    shows_selected: Cell<bool>,
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
            shows_selected: Cell::new(false),
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

    /// The nodes below `root`, in order.
    fn below(&self, root: Id) -> Vec<Id> {
        let nodes = self.nodes.borrow();
        let children = |id: Id| {
            nodes
                .get(id)
                .into_iter()
                .flat_map(|n| n.children.iter().rev())
        };
        let mut pending: Vec<Id> = children(root).copied().collect();
        let mut below = Vec::new();
        while let Some(id) = pending.pop() {
            below.push(id);
            pending.extend(children(id));
        }
        below
    }

    fn choice(&self, id: Id, element: &str) -> Option<Choice> {
        let found = self.read(id, |node| match &node.kind {
            Kind::Element { name, choice, .. }
                if name.ns == ns!(html) && *name.local == *element =>
            {
                Some(*choice)
            }
            _ => None,
        });
        found.flatten()
    }

    /// Gives each `selectedcontent` of a select what the option that is chosen holds, as a browser
    /// does whenever an option ends. The select's own options count in order: one with `selected`
    /// always, another one if it is the first that could be. An option in a group counts only with
    /// `selected`. One that ends before there is a `selectedcontent` is shown nowhere.
    fn show_selected(&self) {
        for select in self.below(DOCUMENT) {
            let Some(choice) = self.choice(select, "select").filter(|c| !c.multiple) else {
                continue;
            };
            let below = self.below(select);
            let Some(shown) = below
                .iter()
                .copied()
                .find(|&id| self.choice(id, "selectedcontent").is_some())
            else {
                continue;
            };
            let mut decided = choice.is_list;
            let mut chosen = Vec::new();
            for &option in &below {
                let Some(choice) = self.choice(option, "option") else {
                    continue;
                };
                let own = self.read(option, |node| node.parent == Some(select)) == Some(true);
                if choice.selected || (own && !decided && !choice.disabled) {
                    decided |= own;
                    chosen.push(option);
                }
            }
            // The last one that ends when there is a place for it; nodes are numbered as they are
            // made.
            let last = self.last_below(&below);
            let ends_later = |option: &Id| last.get(option).is_some_and(|&last| last > shown);
            if let Some(option) = chosen.into_iter().rfind(ends_later) {
                let copies = self.copies_below(option);
                self.replace_children(shown, copies);
            }
        }
    }

    /// The greatest number at or below each of these nodes, which are in the order of the document.
    fn last_below(&self, nodes: &[Id]) -> HashMap<Id, Id> {
        let mut last: HashMap<Id, Id> = nodes.iter().map(|&id| (id, id)).collect();
        for &id in nodes.iter().rev() {
            let own = last.get(&id).copied().unwrap_or(id);
            let parent = self.read(id, |node| node.parent).flatten();
            if let Some(parent) = parent.and_then(|parent| last.get_mut(&parent)) {
                *parent = own.max(*parent);
            }
        }
        last
    }

    /// Copies of what is below a node, without what templates hold.
    fn copies_below(&self, root: Id) -> Vec<Id> {
        let mut copies: HashMap<Id, Id> = HashMap::new();
        let mut first = Vec::new();
        for id in self.below(root) {
            let kind = self.read(id, |node| match &node.kind {
                Kind::Text(text) => Kind::Text(text.clone()),
                _ => Kind::Other,
            });
            let copy = self.add(kind.unwrap_or(Kind::Other));
            copies.insert(id, copy);
            let parent = self.read(id, |node| node.parent).flatten();
            match parent.and_then(|parent| copies.get(&parent).copied()) {
                Some(parent) => self.insert(parent, None, NodeOrText::AppendNode(copy)),
                None => first.push(copy),
            }
        }
        first
    }

    fn replace_children(&self, parent: Id, children: Vec<Id>) {
        let mut nodes = self.nodes.borrow_mut();
        for &child in &children {
            if let Some(child) = nodes.get_mut(child) {
                child.parent = Some(parent);
            }
        }
        if let Some(parent) = nodes.get_mut(parent) {
            parent.children = children;
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
        if self.shows_selected.get() {
            self.show_selected();
        }
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
        if *name.local == *"selectedcontent" {
            self.shows_selected.set(true);
        }
        let choice = match &*name.local {
            "option" | "select" => Choice::of(&attrs),
            _ => Choice::default(),
        };
        self.add(Kind::Element {
            name,
            contents,
            is_integration_point,
            choice,
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

    /// What selectolax 1.0.2 gives.
    #[test]
    fn the_option_that_is_chosen_is_shown() {
        let shown = "<select><button><selectedcontent>a</selectedcontent></button>";
        for (rest, expected) in [
            ("<option>X", "XX"),
            ("<option>X</option><option>Y</option></select>Z", "XXYZ"),
            ("<option>X<option selected>Y<option>Z</select>", "YXYZ"),
            ("<option selected>X<option selected>Y", "YXY"),
            ("<option disabled>X<option>Y", "YXY"),
            ("<option disabled selected>X<option>Y", "XXY"),
            ("<option disabled>X", "aX"),
            ("<option></option><option>Y", "Y"),
            ("<option> a <i>b</i> c", " a b c a b c"),
            ("<option><p>X<script>s</script><!-- c -->", "XsXs"),
            ("<option><template>t</template>X", "XX"),
            ("<optgroup><option>X<optgroup><option>Y", "aXY"),
            ("<optgroup><option selected>X</optgroup><option>Y", "YXY"),
            ("<option>X</option><optgroup><option selected>Z", "ZXZ"),
            ("<selectedcontent>b</selectedcontent><option>X", "XbX"),
            ("<option>X<selectedcontent>q</selectedcontent>", "XqXq"),
            ("", "a"),
        ] {
            check(&format!("{shown}{rest}"), expected);
        }
        check(
            "<select multiple><selectedcontent>a</selectedcontent><option selected>X",
            "aX",
        );
        check(
            "<select><option>X</option><selectedcontent>a</selectedcontent><option>Y",
            "XaY",
        );
        check("<select><option>X<selectedcontent>q</select>", "XXq");
        check(
            "<selectedcontent>a</selectedcontent><select><option>X",
            "aX",
        );
        check(
            "<div><selectedcontent>a</selectedcontent><option>X</div>",
            "aX",
        );
        for (size, expected) in [
            ("1", "XX"),
            ("0", "aX"),
            (" +2x", "aX"),
            ("x", "XX"),
            ("-1", "XX"),
        ] {
            let html =
                format!("<select size='{size}'><selectedcontent>a</selectedcontent><option>X");
            check(&html, expected);
        }
    }

    proptest! {
        #[test]
        fn text_without_markup_is_as_the_parser_sees_it(text in "[ a-z\t\n\u{c}\u{feff}é\u{0}\u{1}\u{a0}<<<_|0/!?>]{0,20}") {
            prop_assert_eq!(document_text(&text), parsed_text(&text));
        }
    }
}
