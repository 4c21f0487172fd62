"""What lies on users' disks: files, folders, lists, published data sets, labelled images. No torch."""
