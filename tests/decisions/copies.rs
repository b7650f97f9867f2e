//! `found`, how the managed mount at /usr was found; `mountinfo`, what there is of its file system when it is closed, from
//! all mount namespaces; `open-before`, the ids of those that were writable before it was opened → which are closed with it.

use rokeep::core::copies::is_to_be_closed;
use rokeep::core::mountinfo::{self, Mount};
use rokeep::core::session::MountId;

use crate::{Case, levels, read_levels};

pub fn decide(case: &Case) -> String {
    let found = read_levels(&case.text("found"));
    let mounts = mountinfo::parse(&case.read("mountinfo"));
    let (managed, others) = mounts.split_first().expect("the managed one comes first");
    let open: Option<Vec<MountId>> = case.find("open-before").map(|ids| {
        let ids = String::from_utf8(ids).expect("text");
        let ids: Vec<u64> = ids.split_whitespace().map(|id| id.parse().expect("an id")).collect();
        others.iter().filter(|mount| ids.contains(&mount.id)).map(id).collect()
    });
    let line = |other: &Mount| {
        let closed = is_to_be_closed(found, managed, other, &id(other), open.as_deref());
        let point = other.point.display();
        format!("{point} ({}): {}\n", levels(other.flags), if closed { "is closed" } else { "is left alone" })
    };
    others.iter().map(line).collect()
}

fn id(mount: &Mount) -> MountId {
    MountId { point: mount.point.clone(), device: mount.device, id: mount.id, namespace: 1 }
}
