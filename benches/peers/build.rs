//! Compiles the C++ side of the peer `boost` when its feature is on; otherwise there is nothing to do.

fn main() {
    #[cfg(feature = "boost")]
    {
        println!("cargo:rerun-if-changed=native/boost.cpp");
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .opt_level(3)
            .define("NDEBUG", None)
            .file("native/boost.cpp")
            .compile("peers_boost");
        // shm_open is in librt before glibc 2.34.
        println!("cargo:rustc-link-lib=rt");
    }
}
