//! Reading `#[repr(…)]`, `#[frame(…)]` and doc comments.

use syn::spanned::Spanned;
use syn::{Attribute, Error, LitInt, LitStr, Result};

/// What `#[frame(…)]` on the struct says.
#[derive(Default)]
pub struct TypeOptions {
    /// The value of `kind = …`.
    pub kind: Option<u16>,
    /// The value of `name = "…"`.
    pub name: Option<String>,
}

/// What `#[frame(…)]` and the doc comment on a field say.
#[derive(Default)]
pub struct FieldOptions {
    /// The value of `unit = "…"`.
    pub unit: String,
    /// Whether `text` stands there.
    pub text: bool,
    /// The first paragraph of the doc comment, on one line.
    pub doc: String,
}

/// Reads the attributes of the struct.
pub fn of_type(attributes: &[Attribute]) -> Result<TypeOptions> {
    let mut options = TypeOptions::default();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("frame")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("kind") {
                let literal: LitInt = meta.value()?.parse()?;
                let kind = literal.base10_parse().map_err(|_| {
                    Error::new(literal.span(), format!("kind {literal}: must be from 0 to 65535"))
                })?;
                once(options.kind.replace(kind).is_some(), &meta)
            } else if meta.path.is_ident("name") {
                let literal: LitStr = meta.value()?.parse()?;
                check_name(&literal)?;
                once(options.name.replace(literal.value()).is_some(), &meta)
            } else {
                Err(meta.error("unknown attribute: a frame takes `kind = 7` and `name = \"cpu\"`"))
            }
        })?;
    }
    Ok(options)
}

/// Reads the attributes and docs of a field.
pub fn of_field(attributes: &[Attribute]) -> Result<FieldOptions> {
    let mut options = FieldOptions { doc: first_paragraph(attributes), ..FieldOptions::default() };
    let mut unit = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("frame")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("unit") {
                let literal: LitStr = meta.value()?.parse()?;
                if literal.value().contains(char::is_control) {
                    return Err(Error::new(literal.span(), "a unit has no control characters"));
                }
                once(unit.replace(literal.value()).is_some(), &meta)
            } else if meta.path.is_ident("text") {
                once(std::mem::replace(&mut options.text, true), &meta)
            } else {
                Err(meta.error("unknown attribute: a field takes `unit = \"ns\"` and `text`"))
            }
        })?;
    }
    options.unit = unit.unwrap_or_default();
    Ok(options)
}

/// Whether the layout is the one that C has; an error that points at what is not.
pub fn check_repr(name: &syn::Ident, attributes: &[Attribute]) -> Result<()> {
    let mut is_c = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("C") {
                is_c = true;
            } else if meta.path.is_ident("packed") {
                return Err(meta.error(
                    "a frame cannot be packed: its fields are read in place, so order them by \
                     falling alignment instead",
                ));
            }
            // `align(64)` and `packed(2)` have an argument that does not matter here.
            if meta.input.peek(syn::token::Paren) {
                let argument;
                syn::parenthesized!(argument in meta.input);
                argument.parse::<proc_macro2::TokenStream>()?;
            }
            Ok(())
        })?;
    }
    if is_c {
        return Ok(());
    }
    let message = format!(
        "frame `{name}` needs #[repr(C)]: without it, its layout may differ between programs"
    );
    Err(Error::new(name.span(), message))
}

/// An attribute that is given twice is an error.
fn once(again: bool, meta: &syn::meta::ParseNestedMeta<'_>) -> Result<()> {
    if again { Err(meta.error("given twice")) } else { Ok(()) }
}

/// The rule for names of schemas, which busway's schema module states.
fn check_name(literal: &LitStr) -> Result<()> {
    let name = literal.value();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    let message = format!("name {name:?}: must be 1 to 64 of A-Z a-z 0-9 _ . -");
    Err(Error::new(literal.span(), message))
}

/// The doc comment up to the first empty line, with single spaces.
fn first_paragraph(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let lines = text.lines().map(str::trim).skip_while(|line| line.is_empty());
    let paragraph = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let words = paragraph.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A field's name as tools show it: ASCII, without the `r#` of a raw identifier.
pub fn field_name(ident: &syn::Ident) -> Result<String> {
    let name = syn::ext::IdentExt::unraw(ident).to_string();
    if name.is_ascii() {
        return Ok(name);
    }
    let message = format!("field name `{name}`: must be of A-Z a-z 0-9 _, as tools type it");
    Err(Error::new(ident.span(), message))
}

/// Refuses generic types, which have more than one layout.
pub fn check_generics(generics: &syn::Generics) -> Result<()> {
    if generics.params.is_empty() {
        return Ok(());
    }
    let message = "a frame cannot be generic: its layout must be one";
    Err(Error::new(generics.params.span(), message))
}
