package cookie
import "testing"
//go:noinline
func deep(n int, f func()) byte { var pad [64]byte; pad[n%64]=byte(n); if n==0 { f(); return pad[0] }; return deep(n-1,f)+pad[n%64] }
func TestZZ(t *testing.T){
 h := NewHasher([16]byte{1})
 in := []Tuple{{RemoteLo: 0xffff<<32|1, LocalLo: 0xffff<<32|2, RemotePort:1, LocalPort:2}}
 want := make([]Sum,1); h.Sum(want,in)
 bad:=0; badOne:=0
 for d:=0; d<800; d++ {
  ch := make(chan bool)
  go func(){ deep(d, func(){ got := make([]Sum,1); h.Sum(got,in); ch <- got[0]==want[0] }) }()
  if !<-ch { bad++ }
  go func(){ deep(d, func(){ ch <- h.SumOne(&in[0])==want[0] }) }()
  if !<-ch { badOne++ }
 }
 t.Log(bad, badOne)
 if bad+badOne>0 { t.Fail() }
}
