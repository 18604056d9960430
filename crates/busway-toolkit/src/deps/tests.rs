//! Order, sharing, failures, circles.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;

type Texts<'a> = Graph<'a, &'static str, u32, String>;

fn sum(inputs: &Inputs<'_, &'static str, u32>, keys: &[&'static str]) -> u32 {
    keys.iter().map(|key| inputs.get(key)).sum()
}

#[test]
fn each_unit_runs_once_after_what_it_needs() {
    for threads in [1, 2, 8] {
        let runs = AtomicU32::new(0);
        let mut graph = Texts::new();
        let count = || runs.fetch_add(1, Ordering::Relaxed);
        graph.unit("top", ["left", "right", "left"], |inputs| {
            count();
            Ok(sum(inputs, &["left", "right"]))
        });
        graph.unit("left", ["base"], |inputs| {
            count();
            Ok(sum(inputs, &["base"]) + 1)
        });
        graph.unit("right", ["base"], |inputs| {
            count();
            Ok(sum(inputs, &["base"]) + 2)
        });
        graph.unit("base", [], |_| {
            count();
            Ok(10)
        });
        let outcomes = graph.run(threads, &Cancel::new()).unwrap();
        assert_eq!(outcomes.value(&"top"), Some(&23));
        assert!(outcomes.all_done());
        assert_eq!(runs.load(Ordering::Relaxed), 4);
    }
}

#[test]
fn failure_skips_those_that_need_it_and_nobody_else() {
    let mut graph = Texts::new();
    graph.unit("bad", [], |_| Err("broken".to_owned()));
    graph.unit("worse", [], |_| panic!("very broken"));
    graph.unit("child", ["bad"], |_| Ok(1));
    graph.unit("grandchild", ["child", "fine"], |_| Ok(1));
    graph.unit("fine", [], |_| Ok(7));
    let outcomes = graph.run(2, &Cancel::new()).unwrap();
    assert_eq!(outcomes.get(&"bad"), Some(&Outcome::Failed("broken".to_owned())));
    assert_eq!(outcomes.get(&"worse"), Some(&Outcome::Panicked("very broken".to_owned())));
    assert_eq!(outcomes.get(&"child"), Some(&Outcome::Skipped { because: "bad" }));
    assert_eq!(outcomes.get(&"grandchild"), Some(&Outcome::Skipped { because: "bad" }));
    assert_eq!(outcomes.value(&"fine"), Some(&7));
    assert!(!outcomes.all_done());
}

#[test]
fn circle_is_refused_by_the_keys_on_it_and_nothing_is_run() {
    let runs = AtomicU32::new(0);
    let mut graph = Texts::new();
    let mut add = |key, needs: &[&'static str]| {
        graph.unit(key, needs.iter().copied(), |_| Ok(runs.fetch_add(1, Ordering::Relaxed)));
    };
    add("free", &[]);
    add("outside", &["a"]);
    add("a", &["b", "free"]);
    add("b", &["c"]);
    add("c", &["a"]);
    let error = graph.run(2, &Cancel::new()).unwrap_err();
    let GraphError::Cycle { keys } = &error else { panic!("{error}") };
    assert_eq!((keys.len(), keys.first()), (4, keys.last()));
    assert!(!keys.contains(&"outside") && !keys.contains(&"free"));
    assert!(error.to_string().contains(r#""b" needs "c""#), "{error}");
    assert_eq!(runs.load(Ordering::Relaxed), 0);
}

#[test]
fn unit_that_needs_itself_is_a_circle() {
    let mut graph = Texts::new();
    graph.unit("a", ["a"], |_| Ok(1));
    let error = graph.run(1, &Cancel::new()).unwrap_err();
    assert_eq!(error, GraphError::Cycle { keys: vec!["a", "a"] });
}

#[test]
fn missing_and_doubled_units_are_refused() {
    let mut graph = Texts::new();
    graph.unit("a", ["b"], |_| Ok(1));
    assert_eq!(
        graph.run(1, &Cancel::new()).unwrap_err(),
        GraphError::Missing { key: "a", needs: "b" }
    );
    let mut graph = Texts::new();
    graph.unit("a", [], |_| Ok(1)).unit("a", [], |_| Ok(2));
    assert_eq!(graph.run(1, &Cancel::new()).unwrap_err(), GraphError::Twice { key: "a" });
}

#[test]
fn cancelling_is_passed_on_to_all_that_have_not_begun() {
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let mut graph = Texts::new();
    graph.unit("first", [], move |inputs| {
        assert!(!inputs.is_cancelled());
        stop.cancel();
        assert!(inputs.is_cancelled());
        Ok(1)
    });
    graph.unit("second", ["first"], |_| Ok(2));
    graph.unit("third", ["second"], |_| Ok(3));
    let outcomes = graph.run(1, &cancel).unwrap();
    assert_eq!(outcomes.value(&"first"), Some(&1), "what ran is done");
    assert_eq!(outcomes.get(&"second"), Some(&Outcome::Cancelled));
    assert_eq!(outcomes.get(&"third"), Some(&Outcome::Cancelled));
}

#[test]
fn graph_without_units_is_done() {
    assert!(Texts::new().run(4, &Cancel::new()).unwrap().all_done());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any graph without circles: each unit once, none before what it needs.
    #[test]
    fn any_order_of_needs_is_kept(
        needs in prop::collection::vec(
            prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            1..40,
        ),
        threads in 1_usize..5,
    ) {
        let order = Mutex::new(Vec::new());
        let mut graph: Graph<'_, usize, (), ()> = Graph::new();
        let mut edges = Vec::new();
        // A unit needs some of those before it.
        for (key, needs) in needs.iter().enumerate() {
            let needs: Vec<usize> =
                needs.iter().filter(|_| key > 0).map(|need| need.index(key)).collect();
            edges.extend(needs.iter().map(|&need| (need, key)));
            let order = &order;
            graph.unit(key, needs, move |_| {
                order.lock().unwrap().push(key);
                Ok(())
            });
        }
        prop_assert!(graph.run(threads, &Cancel::new()).unwrap().all_done());
        let order = order.into_inner().unwrap();
        let place = |key: usize| order.iter().position(|&other| other == key);
        prop_assert_eq!(order.len(), needs.len());
        for (before, after) in edges {
            prop_assert!(place(before) < place(after));
        }
    }
}
