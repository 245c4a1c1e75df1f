package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// index is the image for every platform that there is a program for.
func (o order) index(config v1.Config) (v1.ImageIndex, error) {
	all := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range o.programs {
		image, err := o.image(config, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.arch, err)
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: p.arch}},
		})
	}
	return mutate.Annotations(all, config.Labels).(v1.ImageIndex), nil
}

func (o order) image(config v1.Config, p program) (v1.Image, error) {
	layer, err := root(p.path, o.at)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err = mutate.ConfigFile(base, &v1.ConfigFile{
		OS: "linux", Architecture: p.arch, Config: config, Created: v1.Time{Time: o.at}, RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: o.at}, CreatedBy: "release/image"}})
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, config.Labels).(v1.Image), nil
}

// archive writes the image as an OCI archive: a tar of an OCI layout, under
// the names that podman and containerd load it by.
func archive(all v1.ImageIndex, version string, at time.Time, out string) error {
	dir, err := os.MkdirTemp(filepath.Dir(out), ".image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	err = store.AppendIndex(all, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": version,
		"io.containerd.image.name":          "docker.io/library/dynproxy:" + version,
	}))
	if err != nil {
		return err
	}
	partial := out + ".partial"
	defer os.Remove(partial)
	if err := pack(dir, at, partial); err != nil {
		return err
	}
	return os.Rename(partial, out)
}

// pack writes the files of a folder, sorted by name, all of one time and of
// nobody.
func pack(dir string, at time.Time, out string) error {
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer file.Close()
	w := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: info.Size(), ModTime: at, Typeflag: tar.TypeReg}
		if entry.IsDir() {
			h.Name, h.Mode, h.Size, h.Typeflag = h.Name+"/", 0o755, 0, tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil || entry.IsDir() {
			return err
		}
		source, err := os.Open(path)
		if err != nil {
			return err
		}
		defer source.Close()
		_, err = io.Copy(w, source)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return file.Close()
}
