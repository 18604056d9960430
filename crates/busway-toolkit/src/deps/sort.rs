//! Who needs whom, and that it is no circle.

use std::collections::BTreeMap;

use super::GraphError;

/// Units by index, as they were given.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Whom each needs, each once.
    pub(super) needs: Vec<Vec<usize>>,
    /// Who needs each.
    pub(super) needed_by: Vec<Vec<usize>>,
}

/// Finds keys, and refuses circles.
pub(super) fn plan<'a, K: Ord + Clone + 'a>(
    units: impl Iterator<Item = (&'a K, &'a [K])> + Clone,
) -> Result<Plan, GraphError<K>> {
    let mut index_of = BTreeMap::new();
    for (index, (key, _)) in units.clone().enumerate() {
        if index_of.insert(key, index).is_some() {
            return Err(GraphError::Twice { key: key.clone() });
        }
    }
    let mut plan = Plan { needs: Vec::new(), needed_by: vec![Vec::new(); index_of.len()] };
    for (index, (key, needs)) in units.clone().enumerate() {
        let mut indexes = Vec::new();
        for needed in needs {
            let Some(&found) = index_of.get(needed) else {
                return Err(GraphError::Missing { key: key.clone(), needs: needed.clone() });
            };
            if !indexes.contains(&found) {
                indexes.push(found);
                if let Some(list) = plan.needed_by.get_mut(found) {
                    list.push(index);
                }
            }
        }
        plan.needs.push(indexes);
    }
    if let Some(circle) = circle(&plan) {
        let keys: Vec<&K> = units.map(|(key, _)| key).collect();
        let keys = circle.iter().filter_map(|&index| keys.get(index).copied().cloned());
        return Err(GraphError::Cycle { keys: keys.collect() });
    }
    Ok(plan)
}

/// Takes away what needs nothing that is left, again and again; what stays is on a circle or needs one.
fn circle(plan: &Plan) -> Option<Vec<usize>> {
    let mut open: Vec<usize> = plan.needs.iter().map(Vec::len).collect();
    let mut free: Vec<usize> =
        (0..open.len()).filter(|&index| open.get(index) == Some(&0)).collect();
    while let Some(done) = free.pop() {
        for &index in plan.needed_by.get(done).into_iter().flatten() {
            if let Some(count) = open.get_mut(index) {
                *count -= 1;
                if *count == 0 {
                    free.push(index);
                }
            }
        }
    }
    let is_left = |index: &usize| open.get(*index).is_some_and(|&count| count > 0);
    let mut path = vec![(0..open.len()).find(is_left)?];
    // Each that is left needs one that is left: the path comes back to itself after as many steps at most.
    loop {
        let last = *path.last()?;
        let next = *plan.needs.get(last)?.iter().find(|index| is_left(index))?;
        if let Some(start) = path.iter().position(|&index| index == next) {
            path.drain(..start);
            path.push(next);
            return Some(path);
        }
        path.push(next);
    }
}
