//! A CD: there is nothing to upgrade on it.

use crate::support::guest::{FileSystem::Ext4, FileSystem::Iso9660, on_each_kernel};

#[test]
fn a_disc_stops_apt_before_dpkg_starts() {
    on_each_kernel(|guest| {
        guest.mounted("/usr", Iso9660);
        let found = guest.mount_line("/usr");
        let stopped = guest.hook("pre-invoke", None).assert_code(3);
        stopped.assert_says(&["/usr cannot become writable", "iso9660", "can only be read", "dpkg was not started"]);
        assert_eq!(guest.mount_line("/usr"), found);
        guest.assert_no_session();
    });
}

#[test]
fn what_was_opened_before_it_goes_back() {
    on_each_kernel(|guest| {
        guest.mounted("/usr", Ext4).mounted("/opt", Iso9660);
        let found = [guest.mount_line("/usr"), guest.mount_line("/opt")];
        let stopped = guest.hook("pre-invoke", None).assert_code(3);
        stopped.assert_says(&["/opt cannot become writable", "iso9660", "every mount is as it was found"]);
        assert_eq!([guest.mount_line("/usr"), guest.mount_line("/opt")], found);
        guest.assert_aliases("/usr", 0);
        guest.assert_no_session();
    });
}
