//! Writing the impls of `Frame` and `FrameField`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Result};

use crate::attributes;

/// The impls for one struct.
pub fn frame(input: &DeriveInput) -> Result<TokenStream> {
    let ident = &input.ident;
    let fields = named_fields(input)?;
    attributes::check_repr(ident, &input.attrs)?;
    attributes::check_generics(&input.generics)?;
    let options = attributes::of_type(&input.attrs)?;
    let name = match options.name {
        Some(name) => name,
        None => type_name(ident)?,
    };
    let kind = options.kind.map(|kind| quote! { const KIND: u16 = #kind; });
    let mut defs = Vec::with_capacity(fields.named.len());
    for field in &fields.named {
        defs.push(field_def(ident, field)?);
    }
    // The table stands by itself, so that a struct without zerocopy's derives is reported once, at
    // `Frame`, and not again wherever the table is used.
    Ok(quote! {
        const _: () = {
            const __BUSWAY_FIELDS: &[::busway::__private::FieldDef] = &[#(#defs),*];

            ::busway::__private::check(
                ::core::mem::size_of::<#ident>(),
                ::core::mem::align_of::<#ident>(),
                __BUSWAY_FIELDS,
            );

            // SAFETY: `#[repr(C)]` was checked, offsets are the compiler's, and every field's type
            // has one layout everywhere, or it would not implement `FrameField`.
            #[automatically_derived]
            unsafe impl ::busway::Frame for #ident {
                const NAME: &'static str = #name;
                #kind
                const FIELDS: &'static [::busway::__private::FieldDef] = __BUSWAY_FIELDS;
            }

            #[automatically_derived]
            impl ::busway::__private::FrameField for #ident {
                const SHAPE: ::busway::__private::Shape =
                    ::busway::__private::Shape::Frame(__BUSWAY_FIELDS);
            }
        };
    })
}

/// One row of the table of fields.
fn field_def(owner: &syn::Ident, field: &syn::Field) -> Result<TokenStream> {
    let Some(ident) = &field.ident else {
        return Err(Error::new(field.span(), "the fields of a frame need names"));
    };
    let attributes::FieldOptions { unit, text, doc } = attributes::of_field(&field.attrs)?;
    let name = attributes::field_name(ident)?;
    let field_type = &field.ty;
    // Spanned to the type, so that a type that is refused is what the error points at.
    let shape = if text {
        quote_spanned! { field_type.span() =>
            <#field_type as ::busway::__private::TextField>::SHAPE
        }
    } else {
        quote_spanned! { field_type.span() =>
            <#field_type as ::busway::__private::FrameField>::SHAPE
        }
    };
    Ok(quote! {
        ::busway::__private::FieldDef {
            name: #name,
            offset_bytes: ::core::mem::offset_of!(#owner, #ident),
            shape: #shape,
            unit: #unit,
            doc: #doc,
        }
    })
}

/// The fields, if the type has the form of a frame.
fn named_fields(input: &DeriveInput) -> Result<&syn::FieldsNamed> {
    let message = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => return Ok(fields),
            Fields::Named(_) | Fields::Unit => "a frame has at least one field",
            Fields::Unnamed(_) => "the fields of a frame need names: tools show them",
        },
        Data::Enum(_) => "a frame is a struct: an enum has bytes that are no value",
        Data::Union(_) => "a frame is a struct: which field of a union is meant, nobody can tell",
    };
    Err(Error::new(input.ident.span(), message))
}

/// The struct's own name, which tools use when `name = "…"` is not given.
fn type_name(ident: &syn::Ident) -> Result<String> {
    let name = syn::ext::IdentExt::unraw(ident).to_string();
    if name.is_ascii() {
        return Ok(name);
    }
    let message = format!("frame `{name}` needs #[frame(name = \"…\")] of A-Z a-z 0-9 _ . -");
    Err(Error::new(ident.span(), message))
}

#[cfg(test)]
mod tests {
    use super::frame;

    /// The message for a struct that is refused; of one that is not, the generated code.
    fn message(source: &str) -> String {
        let input = syn::parse_str(source).expect("the test's source parses");
        match frame(&input) {
            Ok(code) => code.to_string(),
            Err(error) => error.to_string(),
        }
    }

    fn assert_refused(source: &str, why: &str) {
        let message = message(source);
        assert!(message.contains(why), "{source}\n{message}");
    }

    #[test]
    fn layout_that_may_differ_is_refused() {
        assert_refused("struct Cpu { x: u8 }", "frame `Cpu` needs #[repr(C)]");
        assert_refused("#[repr(align(8))] struct A { x: u8 }", "needs #[repr(C)]");
        assert_refused("#[repr(C, packed(2))] struct A { x: u8 }", "cannot be packed");
        assert_refused("#[repr(C)] struct A<T> { x: T }", "cannot be generic");
        assert_refused("#[repr(C)] struct A<'a> { x: &'a u8 }", "cannot be generic");
    }

    #[test]
    fn what_is_no_struct_with_named_fields_is_refused() {
        assert_refused("#[repr(C)] struct A(u8);", "need names");
        assert_refused("#[repr(C)] struct A {}", "at least one field");
        assert_refused("#[repr(C)] struct A;", "at least one field");
        assert_refused("#[repr(u8)] enum A { B }", "a frame is a struct");
        assert_refused("#[repr(C)] union A { b: u8 }", "a frame is a struct");
        assert_refused("#[repr(C)] struct A { größe: u8 }", "field name `größe`");
        assert_refused("#[repr(C)] struct Größe { x: u8 }", "needs #[frame(name");
    }

    #[test]
    fn attributes_out_of_range_are_refused() {
        let on_type =
            |attribute: &str| format!("#[repr(C)] #[frame({attribute})] struct A {{ x: u8 }}");
        assert_refused(&on_type("kind = 65536"), "kind 65536: must be from 0 to 65535");
        assert_refused(&on_type("kind = \"7\""), "expected integer literal");
        assert_refused(&on_type("kind = 1, kind = 2"), "given twice");
        assert_refused(&on_type("name = \"a b\""), "name \"a b\": must be 1 to 64 of");
        assert_refused(&on_type("name = \"\""), "must be 1 to 64 of");
        assert_refused(&on_type("kindd = 7"), "unknown attribute: a frame takes");
        let on_field =
            |attribute: &str| format!("#[repr(C)] struct A {{ #[frame({attribute})] x: u8 }}");
        assert_refused(&on_field("units = \"ns\""), "unknown attribute: a field takes");
        assert_refused(&on_field("text, text"), "given twice");
        assert_refused(&on_field("unit = \"\\n\""), "no control characters");
    }

    #[test]
    fn first_paragraph_of_a_doc_becomes_one_line() {
        let code = message(
            "#[repr(C)] struct A {
                ///
                /// Two\tlines,
                ///   one paragraph.
                ///
                /// Not this.
                x: u8
            }",
        );
        assert!(code.contains("\"Two lines, one paragraph.\""), "{code}");
        assert!(!code.contains("Not this"), "{code}");
    }
}
