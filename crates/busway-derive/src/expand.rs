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
    Ok(quote! {
        // SAFETY: `#[repr(C)]` was checked, offsets are the compiler's, and every field's type
        // has one layout everywhere, or it would not implement `FrameField`.
        #[automatically_derived]
        #[allow(unsafe_code)]
        unsafe impl ::busway::Frame for #ident {
            const NAME: &'static str = #name;
            #kind
            const FIELDS: &'static [::busway::__private::FieldDef] = &[#(#defs),*];
        }

        #[automatically_derived]
        impl ::busway::__private::FrameField for #ident {
            const SHAPE: ::busway::__private::Shape =
                ::busway::__private::Shape::Frame(<#ident as ::busway::Frame>::FIELDS);
        }

        // Computed here, so that a limit that is broken is an error here and not at the first use.
        const _: u64 = <#ident as ::busway::Frame>::SCHEMA_HASH;
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
