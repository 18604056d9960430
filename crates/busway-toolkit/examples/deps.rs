//! Units of work that depend on each other: `cargo run -p busway-toolkit --example deps`.

use std::thread;
use std::time::Duration;

use busway_toolkit::{Cancel, Graph, GraphError, Outcome};

type Build<'a> = Graph<'a, &'static str, String, String>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let work = |what: &str| {
        thread::sleep(Duration::from_millis(5));
        what.to_owned()
    };
    let mut graph = Build::new();
    // In any order: each begins as soon as what it needs is done, and is run once.
    graph.unit("program", ["library", "main"], |inputs| {
        Ok(format!("[{} {}]", inputs.get(&"library"), inputs.get(&"main")))
    });
    graph.unit("library", ["headers"], |inputs| Ok(work("library of ") + inputs.get(&"headers")));
    graph.unit("main", ["headers"], |inputs| Ok(work("main of ") + inputs.get(&"headers")));
    graph.unit("headers", [], |_| Ok(work("headers")));
    graph.unit("manual", [], |_| Err("the printer is out of paper".to_owned()));
    graph.unit("parcel", ["program", "manual"], |_| Ok(work("parcel")));

    let outcomes = graph.run(4, &Cancel::new())?;
    for (key, outcome) in outcomes.iter() {
        println!("{key}: {outcome:?}");
    }
    assert_eq!(
        outcomes.value(&"program").map(String::as_str),
        Some("[library of headers main of headers]")
    );
    assert_eq!(outcomes.get(&"parcel"), Some(&Outcome::Skipped { because: "manual" }));

    // Circles are refused before anything is run.
    let mut circle = Build::new();
    circle.unit("hen", ["egg"], |_| Ok(String::new()));
    circle.unit("egg", ["hen"], |_| Ok(String::new()));
    let refused = circle.run(4, &Cancel::new());
    assert!(matches!(refused, Err(GraphError::Cycle { .. })));
    if let Err(error) = refused {
        println!("{error}");
    }
    Ok(())
}
