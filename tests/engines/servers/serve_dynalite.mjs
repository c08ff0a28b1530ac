// Serves dynalite's DynamoDB on a free port of the loopback address. Prints `ready PORT` and ends with the standard
// input, so that it never outlives the program that started it.
import { createRequire } from 'node:module'

// It is installed in a folder of its own, beside no file of this repository.
const dynalite = createRequire(`${process.argv[2]}/`)('dynalite')
const server = dynalite({ createTableMs: 0, deleteTableMs: 0, updateTableMs: 0 })
server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`))
process.stdin.on('end', () => process.exit(0)).resume()
