//! `#[derive(Frame)]` for busway.
//!
//! Use it through `busway::Frame`, which documents the attributes. The macro only writes down what
//! is in the source (names, attributes, docs); types, offsets and limits are resolved by the
//! compiler, in constants of `busway`, so that an alias is as good as the type itself.
//!
//! `attributes` reads what the user wrote, `expand` writes the impls.

mod attributes;
mod expand;

use proc_macro::TokenStream;

/// Implements `busway::Frame` for a `#[repr(C)]` struct with named fields.
#[proc_macro_derive(Frame, attributes(frame))]
pub fn derive_frame(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::frame(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
