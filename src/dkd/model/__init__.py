"""The segmentation network: backbone, ASPP decoder, one classifier per step and the auxiliary one."""
