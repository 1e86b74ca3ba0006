package session

import (
	"fmt"
	"reflect"
	"testing"
)

type st struct {
	m map[string]struct{}
	p *int
}

func dump(t reflect.Type, ind string, base uintptr) {
	fmt.Println(t, t.Size())
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		fmt.Printf("%s%4d %-18s %4d %v\n", ind, base+f.Offset, f.Name, f.Type.Size(), f.Type)
		if f.Type.Kind() == reflect.Struct && f.Type.Size() > 24 {
			dump(f.Type, ind+"    ", base+f.Offset)
		}
	}
}
func TestZZ(t *testing.T) { dump(reflect.TypeFor[entry[st]](), "", 0) }
